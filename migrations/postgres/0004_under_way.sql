-- Payments of a payer that are under way at any instance: each takes of the same money. Small, whatever the
-- table's size.
CREATE INDEX settlement_open_by_payer ON settlement (network, payer) WHERE state IN ('signed', 'broadcast');

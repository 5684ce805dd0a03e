-- Transactions that no block has, so that one whose block the chain took back after its settlements had ended is taken
-- up again by whoever owns its gas wallet next; small, whatever the table's size.
CREATE INDEX wallet_transaction_open ON wallet_transaction (network, gas_wallet) WHERE state = 'open';

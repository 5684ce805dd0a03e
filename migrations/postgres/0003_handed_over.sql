-- Payments that one instance has taken from a caller and that another one is to begin: it owns the gas
-- wallet, and signs. Nothing of them is signed or sent. Whoever begins one removes its row in the commit that
-- stores the settlement and its bytes; whoever removes the row without that has ended it, and the payment is free.

CREATE TABLE handed_over (
    -- The public name that its settlement will have: a UUID of version 7, so that the oldest come first.
    id              UUID    NOT NULL PRIMARY KEY,
    -- As in settlement, down to created_at.
    identity        BYTEA   NOT NULL UNIQUE,
    -- The hash that a later request must match to wait for it, 32 bytes.
    fingerprint     BYTEA   NOT NULL,
    -- The name of the API key; empty in open mode.
    tenant          TEXT    NOT NULL,
    -- The name that the request gave to its settlement.
    idempotency_key TEXT,
    -- Names that request in the log and to its caller.
    request_id      TEXT    NOT NULL,
    -- The chain, CAIP-2.
    network         TEXT    NOT NULL,
    -- The scheme's name.
    scheme          TEXT    NOT NULL,
    -- The account that pays.
    payer           TEXT    NOT NULL,
    -- The code that decides about the payer's signature; NULL for a payer with a key alone.
    payer_code      TEXT,
    -- The account that receives.
    pay_to          TEXT    NOT NULL,
    -- The token.
    asset           TEXT    NOT NULL,
    -- The amount that moves, in the token's atomic units.
    amount          TEXT    NOT NULL,
    -- The number that the payer drew for this payment.
    nonce           TEXT    NOT NULL,
    -- The height of the newest block when the payment was verified.
    claimed_block   BIGINT  NOT NULL,
    -- The time at which it was verified.
    created_at      BIGINT  NOT NULL,
    -- The gas wallet that must send it, when the payment binds one.
    gas_wallet      TEXT,
    -- The first step, as in step.plan.
    plan            TEXT    NOT NULL,
    -- The chain time, in seconds, from which on it can no longer execute.
    valid_before    BIGINT ,
    -- The instance at which its caller waits, as in instance.id.
    instance        TEXT    NOT NULL,
    -- The time until which the caller waits, by the database's clock: nobody begins it later.
    wanted_until    BIGINT  NOT NULL,
    -- The owner of gas wallets that has it in its queue, as in wallet_owner.owner; NULL while nobody has.
    -- It keeps others from verifying and signing in vain, and nothing else: the row's removal decides.
    taken_by        TEXT
) WITH (fillfactor = 50);

-- Those of a network, oldest first; few.
CREATE INDEX handed_over_by_network ON handed_over (network, id);

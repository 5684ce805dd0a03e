-- What must survive: every settlement, every signed form of its transaction,
-- every answer to a send. Nothing here is ever deleted, so that a payment
-- stays known for as long as the chain would accept it, and the books can be
-- compared with the chain years later.
--
-- Reading order: settlement -> slot_item -> slot -> attempt -> broadcast_answer.
--
-- Conventions: times are milliseconds since the Unix epoch; amounts are decimal
-- TEXT, because they may exceed 64 bits; addresses and transactions are spelt
-- as their chain family spells them; ids and hashes are raw bytes (look at them
-- with `hex(id)`). PostgreSQL has the same tables with BYTEA and BIGINT.

-- One payment, from its claim to its end.
CREATE TABLE settlement (
    -- Its public name: a UUID of version 7, 16 bytes.
    id                 BLOB    NOT NULL PRIMARY KEY,
    -- The payment's one name, 32 bytes. UNIQUE is the final arbiter of
    -- "one payment, one settlement": caches in front of it are only faster.
    identity           BLOB    NOT NULL UNIQUE,
    -- What a later request must match to join this settlement, 32 bytes.
    fingerprint        BLOB    NOT NULL,
    -- The name of the API key that asked first; empty in open mode.
    tenant             TEXT    NOT NULL,
    -- The `Idempotency-Key` header of the request that asked first.
    idempotency_key    TEXT,
    -- How far it is. `claimed` is never stored: claim and signed bytes are one commit.
    state              TEXT    NOT NULL CHECK (state IN ('signed', 'broadcast', 'settled', 'failed')),
    -- The chain, CAIP-2.
    network            TEXT    NOT NULL,
    -- The scheme's name, such as `exact`.
    scheme             TEXT    NOT NULL,
    -- Who pays.
    payer              TEXT    NOT NULL,
    -- Who receives.
    pay_to             TEXT    NOT NULL,
    -- The token.
    asset              TEXT    NOT NULL,
    -- What moves, in the token's atomic units.
    amount             TEXT    NOT NULL,
    -- The number that the payer drew for this payment.
    nonce              TEXT    NOT NULL,
    -- The chain's height when the payment was claimed: an effect in a block up
    -- to this one is not ours.
    claimed_at         INTEGER NOT NULL,
    -- The gas wallet that must send it, when the payment binds one.
    plan_gas_wallet    TEXT,
    -- What is to happen on chain, in the family's own words: enough to sign it
    -- again and to prove its effect.
    plan_body          TEXT    NOT NULL,
    -- The chain time, in seconds, from which on it can no longer execute.
    plan_valid_before  INTEGER,
    -- The transaction that decided it, once final. Not always one of ours.
    final_transaction  TEXT,
    -- That transaction's block height.
    final_block_number INTEGER,
    -- That block's hash.
    final_block_hash   TEXT,
    -- Why it failed, as a code of protocol v2.
    reason             TEXT,
    -- Why it failed, for people.
    message            TEXT,
    -- When a request was given the success; NULL as long as nobody was. Set
    -- by compare-and-set, so that it is given away once.
    delivered_at       INTEGER,
    -- When it was claimed.
    created_at         INTEGER NOT NULL,
    -- When it last changed.
    updated_at         INTEGER NOT NULL
) STRICT;

-- One `Idempotency-Key` of one caller names one settlement.
CREATE UNIQUE INDEX settlement_by_idempotency_key
    ON settlement (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- What is taken up after a restart; small, whatever the table's size.
CREATE INDEX settlement_live ON settlement (created_at, id) WHERE state IN ('signed', 'broadcast');
-- Listing, newest first: for operators, and for one tenant.
CREATE INDEX settlement_by_time ON settlement (created_at, id);
CREATE INDEX settlement_by_tenant ON settlement (tenant, created_at, id);
-- Listing what failed, which is rare.
CREATE INDEX settlement_failed ON settlement (created_at, id) WHERE state = 'failed';
-- Look-up by what the payer signed; letter case does not matter.
CREATE INDEX settlement_by_payer ON settlement (lower(payer), lower(nonce));
-- Look-up by the deciding transaction, also when it is not one of our attempts.
CREATE INDEX settlement_by_final_transaction
    ON settlement (final_transaction) WHERE final_transaction IS NOT NULL;

-- One place in a gas wallet's sequence, or one transaction on chains without
-- sequences. Every attempt of a slot competes for the same place, so at most
-- one of them can ever land.
CREATE TABLE slot (
    -- The id of the first settlement it carries, 16 bytes; a fresh one for a
    -- settlement's later steps.
    id         BLOB    NOT NULL PRIMARY KEY,
    -- The chain, CAIP-2.
    network    TEXT    NOT NULL,
    -- Who pays the gas.
    gas_wallet TEXT    NOT NULL,
    -- The place (nonce); NULL on chains without sequences.
    sequence   INTEGER,
    -- When it was taken.
    created_at INTEGER NOT NULL,
    -- A place is given out once, for ever.
    UNIQUE (network, gas_wallet, sequence)
) STRICT, WITHOUT ROWID;

-- Which settlements a slot carries: one, or several when they share a transaction.
CREATE TABLE slot_item (
    -- The slot.
    slot       BLOB    NOT NULL REFERENCES slot (id),
    -- A settlement in it.
    settlement BLOB    NOT NULL REFERENCES settlement (id),
    -- 1 as long as the settlement's fate hangs on this slot (and for ever, if
    -- it ended here); 0 once the slot is proven dead and the settlement moved on.
    live       INTEGER NOT NULL DEFAULT 1 CHECK (live IN (0, 1)),
    PRIMARY KEY (slot, settlement)
) STRICT, WITHOUT ROWID;

-- A settlement has one live slot: it cannot be paid through two at a time.
CREATE UNIQUE INDEX slot_item_live ON slot_item (settlement) WHERE live = 1;
-- Every slot a settlement ever had, for its timeline.
CREATE INDEX slot_item_by_settlement ON slot_item (settlement);

-- One signed form of a slot's transaction. Kept for ever: any of them may land
-- as long as the place is free, whatever was sent later.
CREATE TABLE attempt (
    -- Its name on chain.
    transaction_id  TEXT    NOT NULL PRIMARY KEY,
    -- The slot it competes for.
    slot            BLOB    NOT NULL REFERENCES slot (id),
    -- Its number in the slot, from 0.
    number          INTEGER NOT NULL,
    -- The signed bytes, as they are sent.
    raw             BLOB    NOT NULL,
    -- The most gas it may use.
    gas_limit       INTEGER NOT NULL,
    -- The most that one unit of gas may cost, in the coin's atomic units.
    fee_per_gas_max TEXT    NOT NULL,
    -- Of it, what goes to the block's producer.
    tip_per_gas     TEXT    NOT NULL,
    -- When it was signed.
    created_at      INTEGER NOT NULL,
    -- How often it was sent. Written late, for people only.
    sends           INTEGER NOT NULL DEFAULT 0,
    -- When it was last sent. Written late, for people only.
    last_sent_at    INTEGER,
    -- The height of the block it landed in; NULL as long as it has not.
    block_number    INTEGER,
    -- That block's hash.
    block_hash      TEXT,
    -- What the gas wallet paid, in the coin's atomic units.
    fee_paid        TEXT,
    -- The gas it used.
    gas_used        INTEGER,
    UNIQUE (slot, number)
) STRICT;

-- What the endpoints answered to a send. Written late, for people only; the
-- first hundred of each attempt, so that a transaction that waits for hours
-- does not fill the disk.
CREATE TABLE broadcast_answer (
    -- In the order of sending.
    id             INTEGER PRIMARY KEY,
    -- The attempt that was sent.
    transaction_id TEXT    NOT NULL REFERENCES attempt (transaction_id),
    -- `accepted`, `unknown`, ...
    answer         TEXT    NOT NULL,
    -- The endpoints' text, where it says more.
    detail         TEXT    NOT NULL,
    -- When.
    at             INTEGER NOT NULL
) STRICT;

CREATE INDEX broadcast_answer_by_transaction ON broadcast_answer (transaction_id, id);

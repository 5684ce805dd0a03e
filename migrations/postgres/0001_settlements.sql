-- The tables of the store. Nothing in them is ever deleted by the service, so
-- that a payment stays known for as long as the chain would accept it, and the
-- books can be compared with the chain years later. `facilitator archive` moves
-- what is over for good into files, and keeps the identities here.
--
-- Reading order: settlement -> step -> transaction_item -> wallet_transaction
-- -> attempt -> broadcast_answer; event tells the story of a settlement.
--
-- Conventions: times (`*_at`) are milliseconds since the Unix epoch; block
-- heights end in `_block` or `block_number`; amounts are decimal TEXT, because
-- they may exceed 64 bits; addresses and hashes of the chain are spelt as their
-- family spells them; ids are UUIDs of version 7, which sort by the time they
-- were made. There are no foreign keys: they cost a look-up for each row, and
-- would keep partitions from being detached. SQLite's tables, which are written
-- by the same statements, have them.

-- One payment, from its claim to its end.
CREATE TABLE settlement (
    -- Its public name: a UUID of version 7.
    id                 UUID    NOT NULL PRIMARY KEY,
    -- The payment's one name, 32 bytes. UNIQUE is the final arbiter of
    -- "one payment, one settlement": everything in front of it is only faster.
    identity           BYTEA   NOT NULL UNIQUE,
    -- The hash that a later request must match to join this settlement, 32 bytes.
    fingerprint        BYTEA   NOT NULL,
    -- The name of the API key that asked first; empty in open mode.
    tenant             TEXT    NOT NULL,
    -- The name that the first request gave to its settlement: the
    -- `Idempotency-Key` header, or the payment identifier with a prefix.
    idempotency_key    TEXT,
    -- Names that first request in the log and to its caller: the header
    -- `x-request-id` where it sent one, else an id of ours. Not unique.
    request_id         TEXT    NOT NULL,
    -- Its state. `signed` and `broadcast` are open, `unresolved` waits for
    -- a proof or for the operator's word, the others are ends.
    state              TEXT    NOT NULL CHECK (state IN ('signed', 'broadcast', 'settled', 'failed', 'unresolved')),
    -- The chain, CAIP-2.
    network            TEXT    NOT NULL,
    -- The scheme's name, such as `exact`.
    scheme             TEXT    NOT NULL,
    -- The account that pays.
    payer              TEXT    NOT NULL,
    -- The code that decides about the payer's signature; NULL for a payer with
    -- a key alone.
    payer_code         TEXT,
    -- The account that receives.
    pay_to             TEXT    NOT NULL,
    -- The token.
    asset              TEXT    NOT NULL,
    -- The amount that moves, in the token's atomic units.
    amount             TEXT    NOT NULL,
    -- The number that the payer drew for this payment.
    nonce              TEXT    NOT NULL,
    -- The height of the newest block when the payment was claimed: an effect
    -- in a block up to this one is not this settlement's.
    claimed_block      BIGINT  NOT NULL,
    -- 1 once an endpoint has accepted one of its transactions, as far as this
    -- was seen before its end. Written late, for people only.
    accepted           BOOLEAN NOT NULL DEFAULT FALSE,
    -- The transaction that decided it, once it has ended. Not always one of ours.
    final_transaction  TEXT,
    -- 1 if that transaction is none of its attempts.
    final_is_foreign   BOOLEAN NOT NULL DEFAULT FALSE,
    -- The height of that transaction's block. NULL with a transaction: the
    -- operator's word named it, and its block is not known.
    final_block_number BIGINT,
    -- That block's hash.
    final_block_hash   TEXT,
    -- Why it failed, as a code of protocol v2.
    reason             TEXT,
    -- Why it failed, for people.
    message            TEXT,
    -- The chain time, in seconds, until which whoever holds the payload of a
    -- failed payment can still execute it; NULL when nobody can.
    executable_until   BIGINT,
    -- The newest reason why it is unresolved, for operators.
    unresolved_why     TEXT,
    -- The time at which a request was given the success; NULL as long as nobody was. Set
    -- by compare-and-set, so that it is given away once.
    delivered_at       BIGINT,
    -- The request that was given it: the caller that began the settlement, by
    -- its key, whose requests share it, or another.
    delivered_to       TEXT    CHECK (delivered_to IN ('caller', 'other')),
    -- The time at which it was settled or failed.
    ended_at           BIGINT,
    -- When the chain could no longer take its end back.
    finalized_at       BIGINT,
    -- The time at which the chain took its transfer back; NULL if it never did.
    reorged_at         BIGINT,
    -- When it was claimed.
    created_at         BIGINT  NOT NULL,
    -- When it last changed.
    updated_at         BIGINT  NOT NULL
);

-- One key of one caller names one settlement.
CREATE UNIQUE INDEX settlement_by_idempotency_key
    ON settlement (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Settlements that the workers take up after a restart; small, whatever the table's size.
CREATE INDEX settlement_open ON settlement (network, id) WHERE state IN ('signed', 'broadcast');
-- Settlements whose proof is asked for with growing intervals; small.
CREATE INDEX settlement_unresolved ON settlement (network, id) WHERE state = 'unresolved';
-- Transfers that the finality check looks at; small while it keeps up. Those
-- that the chain took back are apart, so that they are not in the way.
CREATE INDEX settlement_due_for_finality ON settlement (network, final_block_number)
    WHERE state = 'settled' AND finalized_at IS NULL AND reorged_at IS NULL;
CREATE INDEX settlement_taken_back ON settlement (network, final_block_number)
    WHERE state = 'settled' AND finalized_at IS NULL AND reorged_at IS NOT NULL;
-- Failed payments that somebody else may still execute; small.
CREATE INDEX settlement_executable ON settlement (network, id)
    WHERE state = 'failed' AND finalized_at IS NULL AND executable_until IS NOT NULL;
-- Failures since a time, for the limits of payers.
CREATE INDEX settlement_failed_by_end ON settlement (network, ended_at, id) WHERE state = 'failed';
-- Listing, newest first: everything, of a network, of a tenant, of both.
CREATE INDEX settlement_by_time ON settlement (created_at, id);
CREATE INDEX settlement_by_network ON settlement (network, created_at, id);
CREATE INDEX settlement_by_tenant ON settlement (tenant, created_at, id) WHERE tenant <> '';
CREATE INDEX settlement_by_tenant_and_network ON settlement (tenant, network, created_at, id) WHERE tenant <> '';
-- Listing what failed, which is rare.
CREATE INDEX settlement_failed ON settlement (created_at, id) WHERE state = 'failed';
CREATE INDEX settlement_failed_by_network ON settlement (network, created_at, id) WHERE state = 'failed';
-- Look-up by the caller's own name of the request.
CREATE INDEX settlement_by_request ON settlement (request_id, created_at, id);
CREATE INDEX settlement_failed_by_tenant ON settlement (tenant, created_at, id)
    WHERE state = 'failed' AND tenant <> '';
-- Listing of a payer, newest first; letter case does not matter.
CREATE INDEX settlement_by_payer ON settlement (lower(payer), created_at, id);
-- Look-up by the number that the payer drew, with the payer or without: the
-- beginnings of both, which nearly always tell them apart.
CREATE INDEX settlement_by_nonce ON settlement (lower(substr(nonce, 1, 18)), lower(substr(payer, 1, 18)));
-- Look-up by the deciding transaction where it is not one of our attempts.
CREATE INDEX settlement_by_foreign_transaction ON settlement (final_transaction) WHERE final_is_foreign;

-- One on-chain action of a settlement, nearly always the only one.
CREATE TABLE step (
    -- The settlement.
    settlement     UUID    NOT NULL,
    -- Its place among the settlement's steps, from 0.
    number         BIGINT  NOT NULL,
    -- Its state: `waiting` for a wallet worker, `carried` by a transaction
    -- (for ever, if the settlement ended with it), `done`.
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'carried', 'done')),
    -- The transaction that carries it, or carried it to its end.
    transaction_id UUID    CHECK ((transaction_id IS NULL) = (state = 'waiting')),
    -- The gas wallet that must send it, when the payment binds one.
    gas_wallet     TEXT,
    -- The action in the family's own words: enough to sign it again and to
    -- prove its effect.
    plan           TEXT    NOT NULL,
    -- The chain time, in seconds, from which on it can no longer execute.
    valid_before   BIGINT,
    PRIMARY KEY (settlement, number)
);

-- One place in a gas wallet's nonce sequence, or one message on chains without
-- nonces. Its attempts compete for the place, so at most one is ever included.
CREATE TABLE wallet_transaction (
    -- Its name: a UUID of version 7.
    id         UUID    NOT NULL PRIMARY KEY,
    -- The chain, CAIP-2.
    network    TEXT    NOT NULL,
    -- The account that pays for it.
    gas_wallet TEXT    NOT NULL,
    -- The place; NULL on chains without nonces, and for bytes that somebody
    -- else signed.
    nonce      BIGINT,
    -- The epoch of the wallet's ownership under which it was signed.
    epoch      BIGINT  NOT NULL,
    -- Its state: `open`, `included` in a confirmed block (the attempt knows
    -- in which), `dead` when no block has it or can have it.
    state      TEXT    NOT NULL CHECK (state IN ('open', 'included', 'dead')),
    -- The proof that it is dead, in words.
    dead_why   TEXT    CHECK ((dead_why IS NULL) = (state <> 'dead')),
    -- When its place was taken.
    created_at BIGINT  NOT NULL,
    -- A place is given out once, for ever.
    UNIQUE (network, gas_wallet, nonce)
);

-- A step that a transaction carries or carried.
CREATE TABLE transaction_item (
    -- The transaction.
    transaction_id UUID    NOT NULL,
    -- Its place among the transaction's items, from 0.
    number         BIGINT  NOT NULL,
    -- The settlement.
    settlement     UUID    NOT NULL,
    -- Its step.
    step           BIGINT  NOT NULL,
    -- 1 as long as the step's fate hangs on this transaction, and for ever if
    -- it ended here; 0 once the transaction is dead and the step waits again.
    live           BOOLEAN NOT NULL,
    PRIMARY KEY (transaction_id, number)
);

-- A step is carried by one live transaction at a time.
CREATE UNIQUE INDEX transaction_item_live ON transaction_item (settlement, step) WHERE live;
-- Every transaction that a settlement ever had.
CREATE INDEX transaction_item_by_settlement ON transaction_item (settlement);

-- One signed form of a transaction. Kept for ever: any of them may be included
-- as long as the place is free, whatever was sent later.
CREATE TABLE attempt (
    -- The transaction.
    transaction_id UUID    NOT NULL,
    -- Its place among the transaction's attempts, from 0.
    number         BIGINT  NOT NULL,
    -- Its name on chain. Transactions with bytes that somebody else signed may share it.
    hash           TEXT    NOT NULL,
    -- Why it was signed: the `first` of its transaction, a `bump` of the fee,
    -- or a `cancel` that only uses the nonce up.
    kind           TEXT    NOT NULL CHECK (kind IN ('first', 'bump', 'cancel')),
    -- The signed bytes, as they are sent.
    raw            BYTEA   NOT NULL,
    -- The fee that it offers, in the family's own terms, JSON.
    fee_terms      TEXT    NOT NULL,
    -- The most that it may take out of the gas wallet, value included, in the
    -- coin's atomic units.
    fee_amount_max TEXT    NOT NULL,
    -- The time at which it was signed.
    created_at     BIGINT  NOT NULL,
    -- The number of times it was sent. Written late, for people only.
    sends          BIGINT  NOT NULL DEFAULT 0,
    -- The time at which it was last sent. Written late, for people only.
    last_sent_at   BIGINT,
    -- The height of the confirmed block that includes it; NULL while none does.
    block_number   BIGINT,
    -- That block's hash.
    block_hash     TEXT    CHECK ((block_hash IS NULL) = (block_number IS NULL)),
    -- The fee that the gas wallet paid, in the coin's atomic units. Stored here only.
    fee_paid       TEXT    CHECK ((fee_paid IS NULL) = (block_number IS NULL)),
    -- The gas, or compute units, that it used.
    gas_used       BIGINT  CHECK ((gas_used IS NULL) = (block_number IS NULL)),
    PRIMARY KEY (transaction_id, number)
);

-- Look-up by the name on chain.
CREATE INDEX attempt_by_hash ON attempt (hash);

-- The answers of the endpoints to a send. Written late, for people only; the
-- first hundred of each attempt, so that a transaction that waits for hours
-- does not fill the disk.
CREATE TABLE broadcast_answer (
    -- The transaction.
    transaction_id UUID    NOT NULL,
    -- The attempt that was sent.
    attempt        BIGINT  NOT NULL,
    -- Its place among the attempt's sends, from 0.
    number         BIGINT  NOT NULL,
    -- The answer as a word: `accepted`, `unknown`, ...
    answer         TEXT    NOT NULL,
    -- The endpoints' text, where it says more.
    detail         TEXT    NOT NULL,
    -- The time of the answer.
    at             BIGINT  NOT NULL,
    PRIMARY KEY (transaction_id, attempt, number)
);

-- The story of a settlement: written in the same commit as the change.
CREATE TABLE event (
    -- The settlement.
    settlement UUID    NOT NULL,
    -- Its place among the settlement's events, from 0.
    number     BIGINT  NOT NULL,
    -- The word for it, such as `signed` or `settled`.
    kind       TEXT    NOT NULL,
    -- More of it, for people; may be empty.
    detail     TEXT    NOT NULL,
    -- When.
    at         BIGINT  NOT NULL,
    PRIMARY KEY (settlement, number)
);

-- The owner of a gas wallet's nonces.
CREATE TABLE wallet_owner (
    -- The chain, CAIP-2.
    network    TEXT    NOT NULL,
    -- The gas wallet.
    gas_wallet TEXT    NOT NULL,
    -- The process that owns it, in words.
    owner      TEXT    NOT NULL,
    -- Grows with every owner. A transaction of an older epoch is refused.
    epoch      BIGINT  NOT NULL,
    -- The time at which it was taken.
    taken_at   BIGINT  NOT NULL,
    PRIMARY KEY (network, gas_wallet)
);

-- Settlements that `facilitator archive` has moved into files: their identities
-- and the places that their transactions took stay here for ever.

-- A file of archived settlements.
CREATE TABLE archive (
    -- The name that the settlements' rows use.
    number      BIGINT  GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    -- The name in the file's first line: a UUID of version 7.
    id          UUID    NOT NULL UNIQUE,
    -- The file's path when it was last written to, for people.
    path        TEXT    NOT NULL,
    -- The bytes of the file whose settlements have left the other tables. What
    -- the file has beyond was not moved.
    length      BIGINT  NOT NULL,
    -- The number of settlements in these bytes.
    settlements BIGINT  NOT NULL,
    -- When the file was begun.
    created_at  BIGINT  NOT NULL
);

-- A settlement that is in a file: enough to refuse its payment for ever.
CREATE TABLE archived_settlement (
    -- Its public name.
    id                UUID    NOT NULL PRIMARY KEY,
    -- The payment's one name, 32 bytes, unique here as it was before.
    identity          BYTEA   NOT NULL UNIQUE,
    -- Its end.
    state             TEXT    NOT NULL CHECK (state IN ('settled', 'failed')),
    -- The transaction that decided it.
    final_transaction TEXT,
    -- Why it failed, as a code of protocol v2.
    reason            TEXT    CHECK ((reason IS NULL) = (state = 'settled')),
    -- Why it failed, for people.
    message           TEXT    CHECK ((message IS NULL) = (state = 'settled')),
    -- The file.
    archive           BIGINT  NOT NULL
);

-- The places in gas wallets' nonce sequences that archived transactions took:
-- few rows, as neighbours are one.
CREATE TABLE archived_nonces (
    -- The chain, CAIP-2.
    network    TEXT    NOT NULL,
    -- The gas wallet.
    gas_wallet TEXT    NOT NULL,
    -- The first place.
    first      BIGINT  NOT NULL,
    -- The last place.
    last       BIGINT  NOT NULL CHECK (last >= first),
    PRIMARY KEY (network, gas_wallet, first)
);

-- "One payment, one settlement" holds across both tables. The look happens after
-- the row is there: a row of the same payment that was leaving for the archive
-- has left by then.
CREATE FUNCTION refuse_archived_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM archived_settlement a WHERE a.identity = NEW.identity) THEN
        RAISE unique_violation USING MESSAGE = 'the payment is archived';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER settlement_is_not_archived AFTER INSERT ON settlement
FOR EACH ROW EXECUTE FUNCTION refuse_archived_settlement();

-- A place is given out once, for ever.
CREATE FUNCTION refuse_archived_nonce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.nonce <= (SELECT r.last FROM archived_nonces r WHERE r.network = NEW.network
        AND r.gas_wallet = NEW.gas_wallet AND r.first <= NEW.nonce ORDER BY r.first DESC LIMIT 1) THEN
        RAISE unique_violation USING MESSAGE = 'the nonce is archived';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER nonce_is_not_archived AFTER INSERT ON wallet_transaction
FOR EACH ROW EXECUTE FUNCTION refuse_archived_nonce();

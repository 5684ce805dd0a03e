-- Several processes on one database share its gas wallets: each wallet has an
-- owner, who shows again and again that it lives.

-- The name that the owner gave itself, for people.
ALTER TABLE wallet_owner ADD COLUMN owner_name TEXT   NOT NULL DEFAULT '';
-- Changes while the owner lives. One that stands still for long enough, on the
-- clock of whoever looks, is an owner that is gone: no clocks are compared.
ALTER TABLE wallet_owner ADD COLUMN beat       BIGINT NOT NULL DEFAULT 0;
-- The time of the last beat, by the owner's clock, for people.
ALTER TABLE wallet_owner ADD COLUMN renewed_at BIGINT NOT NULL DEFAULT 0;

-- A process that shares the wallets with others.
CREATE TABLE instance (
    -- Its id: that of one process alone, as in wallet_owner.owner.
    id         TEXT   NOT NULL PRIMARY KEY,
    -- The name that the operator gave it, or its machine's.
    name       TEXT   NOT NULL,
    -- Its release.
    version    TEXT   NOT NULL,
    -- The networks that are open there, CAIP-2, with spaces between them.
    networks   TEXT   NOT NULL,
    -- Changes while it lives.
    beat       BIGINT NOT NULL,
    -- The time of its start, by its own clock.
    started_at BIGINT NOT NULL,
    -- The time of the last beat, by its own clock.
    renewed_at BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Beats change a row in its page.
ALTER TABLE wallet_owner SET (fillfactor = 50);

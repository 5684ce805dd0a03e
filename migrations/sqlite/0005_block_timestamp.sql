-- The time of the block that includes the attempt, in seconds since the Unix epoch by the chain's own clock.
-- For people only; NULL while no block does, and where the chain did not tell it. A new column of NULLs:
-- no row is written, whatever the table's size.
ALTER TABLE attempt ADD COLUMN block_timestamp INTEGER;

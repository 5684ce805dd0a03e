//! The payments of a payer that are under way.

use chains_core::Network;

use crate::{
    settlement::record::UnderWay,
    store::{
        StoreError,
        sql::{
            database::{Pool, Row},
            row::{self, Reader},
            statement::{Dialect, Statement},
        },
    },
};

/// Open settlements of a payer with their last steps, and what is handed over, oldest first.
pub(in crate::store::sql) async fn under_way(
    pool: &Pool,
    network: &Network,
    payer: &str,
) -> Result<Vec<UnderWay>, StoreError> {
    let query = Statement::of(pool.dialect(), sql(pool.dialect()), [network.as_str().into(), payer.into()]);
    pool.all(query).await?.iter().map(read).collect()
}

pub(super) fn sql(dialect: Dialect) -> String {
    let (index, join, now) = (dialect.by_index("settlement_open_by_payer"), dialect.join(), dialect.now());
    format!(
        "SELECT s.id, s.identity, s.asset, s.amount, p.gas_wallet, p.plan, p.valid_before FROM settlement s{index} \
         {join} step p ON p.settlement = s.id WHERE s.network = $1 AND s.payer = $2 \
         AND s.state IN ('signed', 'broadcast') \
         AND p.number = (SELECT max(q.number) FROM step q WHERE q.settlement = s.id) UNION ALL \
         SELECT h.id, h.identity, h.asset, h.amount, h.gas_wallet, h.plan, h.valid_before FROM handed_over h \
         WHERE h.network = $1 AND h.payer = $2 AND h.wanted_until > {now} ORDER BY 1"
    )
}

fn read(row: &Row) -> Result<UnderWay, StoreError> {
    let read = Reader::new(row, "settlement", "id");
    Ok(UnderWay {
        id: read.settlement("id")?,
        identity: read.identity("identity")?,
        asset: read.text("asset")?,
        amount: read.parsed("amount")?,
        plan: row::plan(&read)?,
    })
}

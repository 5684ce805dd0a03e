//! The store's contract over PostgreSQL, and what only PostgreSQL promises.

mod owners;
mod plans;
mod schema;
mod server;
mod trips;

/// A server of its own.
#[expect(dead_code, reason = "the end-to-end tests use all of it")]
#[path = "../../../../tests/src/postgres.rs"]
mod postgres;

use std::sync::Arc;

use async_trait::async_trait;
use chains_core::Secret;
use sqlx::{Connection as _, PgConnection};

use self::postgres::{Pooler, Postgres};
use super::place::Place;
use crate::store::{
    Store,
    connect::{Access, ConnectError, Location, connect},
    contract::{Backend, build::*, store_contract},
    schema::Migrations,
};

struct Server(Postgres);

impl Server {
    fn fresh() -> Self {
        Self(Postgres::start())
    }

    fn place(&self) -> Place {
        Place::new(&Secret::new(self.0.url("postgres"))).expect("a URL")
    }

    async fn connect(&self, access: Access) -> Result<Arc<dyn Store>, ConnectError> {
        connect(&Location::Postgres(Box::new(self.place())), access).await
    }

    /// A session of somebody else.
    async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.0.url("postgres")).await.expect("connected")
    }

    /// Does what another program may do to the database.
    fn tamper(&self, sql: &str) {
        drop(self.0.execute(sql));
    }
}

#[async_trait]
impl Backend for Server {
    async fn open(&self) -> Arc<dyn Store> {
        self.connect(Access::Own(Migrations::Apply)).await.expect("opened")
    }

    async fn read(&self) -> Arc<dyn Store> {
        self.connect(Access::Read).await.expect("opened")
    }

    async fn operate(&self) -> Arc<dyn Store> {
        self.connect(Access::Operate).await.expect("opened")
    }
}

store_contract!(Server::fresh());

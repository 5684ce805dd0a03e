//! The requests that a caller may make in a time, and have under way.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rate`] | a rate, as it is configured, and the decision about one request |
//! | [`gate`] | the rates and the requests under way of every caller |
//!
//! Instances that share a Redis share the rates, by one script for each request. Without an answer,
//! each keeps its part: the rate divided by the instances that there were at last.

pub mod gate;
pub mod rate;

pub use self::{
    gate::{Admitted, Gate, Over},
    rate::Rate,
};

/// The limits of one caller on one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Its requests in a time; `None` is no limit.
    pub rate: Option<Rate>,
    /// Its requests under way at a time, on all routes; `None` is no limit.
    pub in_flight_max: Option<u32>,
}

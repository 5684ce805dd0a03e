//! A nemesis: several instances under faults that a seed draws, and the judge of everything that happened.
//!
//! | module | what it holds |
//! |---|---|
//! | [`run`] | everything together, from the start to the judgement |
//! | [`history`] | requests and answers, blocks, sends, absences, and the tables at the end |
//! | [`checker`] | the properties that every history must have |
//! | [`story`] | the course of one settlement, by its events |
//! | [`recorder`] | the pen of the history |
//! | [`schedule`] | the faults, drawn by a seed |
//! | [`faults`] | the same, brought about and ended |
//! | [`link`] | the way between two programs, which delays, holds back and breaks |
//! | [`cluster`] | the instances, which start again whenever they end |
//! | [`replica`] | a database that takes another's place |
//! | [`clock`] | a wall clock that jumps |
//! | [`callers`] | signs payments, and settles them in the ways that callers have |
//! | [`solana`] | a second network, with a few payments |
//! | [`store`], [`chain`] | the looks at the database and at the chain |

pub mod callers;
pub mod chain;
pub mod checker;
pub mod clock;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod link;
pub mod recorder;
pub mod replica;
pub mod run;
pub mod schedule;
pub mod solana;
pub mod store;
pub mod story;

//! A nemesis: several instances under faults that a seed draws, and the judge of everything that happened.
//!
//! | module | what it holds |
//! |---|---|
//! | [`history`] | requests and answers, blocks, sends, absences, and the tables at the end |
//! | [`checker`] | the properties that every history must have |
//! | [`story`] | the course of one settlement, by its events |
//! | [`link`] | the way between two programs, which delays, holds back and breaks |

pub mod checker;
pub mod history;
pub mod link;
pub mod story;

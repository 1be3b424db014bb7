//! The temperature controller's scenarios: the project's own suite, and the example of one.

pub mod contract;

//! hil-report.

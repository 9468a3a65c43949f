//! Claims about the audit.

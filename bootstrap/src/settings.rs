//! What a bootstrap peer is told. Must hold no secret itself, only where one is kept.

use std::path::PathBuf;

/// What [`crate::run`] needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Multiaddresses to listen on, TCP or QUIC, such as `/ip4/0.0.0.0/tcp/4000`. At least one.
    pub listen: Vec<String>,
    /// Its key, PKCS#8 PEM of mode 0600; made on the first run, so that its address stays the same.
    pub key_file: PathBuf,
}

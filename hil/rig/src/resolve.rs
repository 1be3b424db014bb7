//! A rig with its secrets: what the file named is read from the environment.
//!
//! Apart from reading the file, so that listing and planning need no secrets, and so that secrets
//! have one type that never shows them.

use std::fmt;

use crate::{BrokerEndpoint, MissingVariable, Network, Rig, RigError};

/// A rig that is ready to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRig {
    /// The rig as in its file.
    pub rig: Rig,
    /// How the device reaches the network, with the secrets.
    pub network: ResolvedNetwork,
    /// How to log in at the broker, if it wants that.
    pub broker_login: Option<BrokerLogin>,
}

/// How the device reaches the network, with the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedNetwork {
    /// The Ethernet MAC of the virtual rig.
    Ethernet,
    /// The chip's radio.
    Wifi {
        /// The network's name, 1 to 32 bytes.
        ssid: String,
        /// The passphrase, at most 64 bytes; empty for an open network.
        passphrase: Secret,
    },
}

/// User name and password for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerLogin {
    /// User name, 1 to 32 bytes.
    pub username: String,
    /// Password, at most 64 bytes.
    pub password: Secret,
}

/// A text that no log, report or panic message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl Rig {
    /// Reads what the rig leaves to the environment. `variable` gives the value of an environment
    /// variable; `|name| std::env::var(name).ok()` for the process's own.
    ///
    /// # Errors
    /// [`RigError::Environment`] with every variable that is not set or too long for the device.
    pub fn resolve(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<ResolvedRig, RigError> {
        let mut missing = vec![];
        let mut read = |name: &str, purpose, least: usize, most: usize| {
            let value = variable(name);
            let reason = match value.as_ref().map(String::len) {
                None => Some("not set".to_owned()),
                Some(length) if length < least => Some("empty".to_owned()),
                Some(length) if length > most => Some(format!("longer than {most} bytes")),
                Some(_) => None,
            };
            missing.extend(reason.map(|reason| MissingVariable {
                name: name.to_owned(),
                purpose,
                reason,
            }));
            value.unwrap_or_default()
        };
        let network = match &self.network {
            Network::Ethernet => ResolvedNetwork::Ethernet,
            Network::Wifi {
                ssid_env,
                passphrase_env,
            } => ResolvedNetwork::Wifi {
                ssid: read(ssid_env, "name of the Wi-Fi network", 1, 32),
                passphrase: Secret(read(passphrase_env, "Wi-Fi passphrase", 0, 64)),
            },
        };
        let broker_login = match &self.broker.endpoint {
            BrokerEndpoint::External {
                login_env: Some((username, password)),
                ..
            } => Some(BrokerLogin {
                username: read(username, "user name at the broker", 1, 32),
                password: Secret(read(password, "password at the broker", 0, 64)),
            }),
            _ => None,
        };
        if missing.is_empty() {
            return Ok(ResolvedRig {
                rig: self.clone(),
                network,
                broker_login,
            });
        }
        Err(RigError::Environment {
            rig: self.name.clone(),
            missing,
        })
    }
}

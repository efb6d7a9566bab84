//! How the connection to each endpoint is protected.

use super::connection::{Connection, TlsMode};
use super::endpoint::{Address, Endpoint};
use crate::error::Result;

/// An endpoint, and how its connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSecurity {
    /// The endpoint, as given.
    pub endpoint: String,
    /// How the member there proves who it is.
    pub tls: TlsMode,
    /// Whether it is a Unix socket, so that nothing leaves this host.
    pub local: bool,
}

impl Connection {
    /// How the connection to each endpoint is protected, without duplicates.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for endpoints that cannot be parsed.
    pub fn endpoint_security(&self) -> Result<Vec<EndpointSecurity>> {
        let endpoints = Endpoint::parse_all(self)?;
        let security = |endpoint: Endpoint| EndpointSecurity {
            tls: self.tls_of(&endpoint),
            local: matches!(endpoint.address, Address::Unix(_)),
            endpoint: endpoint.given,
        };
        Ok(endpoints.into_iter().map(security).collect())
    }

    /// How the member at `endpoint` proves who it is.
    pub(super) fn tls_of(&self, endpoint: &Endpoint) -> TlsMode {
        match (endpoint.tls, self.insecure_skip_tls_verify) {
            (false, _) => TlsMode::None,
            (true, true) => TlsMode::Unverified,
            (true, false) => TlsMode::Verified,
        }
    }
}

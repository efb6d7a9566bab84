//! One connected member: its status, its name, its snapshot.

use super::diagnosis;
use super::dialer::{Dialer, Prepared};
use super::endpoint::Endpoint;
use super::failure;
use super::flow_control::FlowControl;
use super::rate_limit::RateLimit;
use super::status::MemberStatus;
use crate::error::{Error, Kind, Result};
use etcd_client::{Client, MemberListResponse, SnapshotStreaming};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A connected member. All its calls go over one connection.
pub(super) struct ConnectedMember {
    endpoint: Endpoint,
    client: Client,
    flow_control: FlowControl,
    rate_limit: Option<Arc<RateLimit>>,
    command_timeout: Duration,
    /// Fetches the member list; aborted on drop.
    list: JoinSet<Option<MemberListResponse>>,
}

impl ConnectedMember {
    /// Connects, authenticates and asks for the status.
    ///
    /// # Errors
    /// Every error that kept the member from answering.
    pub(super) async fn probe(dialer: &Dialer, prepared: &Prepared) -> Result<(Self, MemberStatus)> {
        match Self::connect_and_ask(dialer, prepared).await {
            Err(error)
                if matches!(error.kind(), Kind::EtcdUnreachable | Kind::EtcdTimeout | Kind::EtcdTls) =>
            {
                Err(diagnosis::look_closer(dialer, prepared, error).await)
            }
            probed => probed,
        }
    }

    async fn connect_and_ask(dialer: &Dialer, prepared: &Prepared) -> Result<(Self, MemberStatus)> {
        let flow_control = FlowControl::open();
        let client = dialer.client(prepared, &flow_control).await?;
        let mut member = Self {
            endpoint: prepared.endpoint.clone(),
            client,
            flow_control,
            rate_limit: dialer.rate_limit().cloned(),
            command_timeout: dialer.command_timeout(),
            list: JoinSet::new(),
        };
        member.ask_for_list();
        let status = member.status().await?;
        Ok((member, status))
    }

    /// Requests the member list concurrently with the other calls: on a link with a long round trip a separate wait takes
    /// long.
    fn ask_for_list(&mut self) {
        let (mut client, limit) = (self.client.clone(), self.command_timeout);
        let endpoint = self.endpoint.given.clone();
        self.list.spawn(async move {
            match timeout(limit, client.member_list()).await {
                Ok(Ok(list)) => return Some(list),
                Ok(Err(error)) => tracing::debug!(endpoint, %error, "the member list could not be read"),
                Err(_) => tracing::debug!(endpoint, "the member list did not come in time"),
            }
            None
        });
    }

    /// Asks for the status.
    ///
    /// # Errors
    /// Every error that kept the member from answering within the command timeout.
    pub(super) async fn status(&mut self) -> Result<MemberStatus> {
        let response = timeout(self.command_timeout, self.client.status())
            .await
            .map_err(|_| failure::calling_too_long(&self.endpoint, "status", self.command_timeout))?
            .map_err(|error| failure::calling(&self.endpoint, "status", error))?;
        MemberStatus::from_response(&response).ok_or_else(|| {
            Error::new(
                Kind::EtcdFault,
                format!("{} answered a status that names no member", self.endpoint.given),
            )
            .naming(self.endpoint.subject())
        })
    }

    /// The name of the member with `member_id`, if the member list can be read. It is optional, so this never fails.
    pub(super) async fn name(&mut self, member_id: u64) -> Option<String> {
        let list = self.list.join_next().await?.ok()??;
        let member = list.members().iter().find(|member| member.id() == member_id)?;
        super::status::present(member.name())
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The gate that bounds how much piles up between the member and the reader of its stream.
    pub(super) fn flow_control(&self) -> &FlowControl {
        &self.flow_control
    }

    /// The rate limit of its connection, if there is one.
    pub(super) fn rate_limit(&self) -> Option<&Arc<RateLimit>> {
        self.rate_limit.as_ref()
    }

    /// Requests the snapshot. The caller bounds the time.
    ///
    /// # Errors
    /// The error that etcd answers instead.
    pub(super) async fn snapshot(&mut self) -> Result<SnapshotStreaming> {
        self.client.snapshot().await.map_err(|error| failure::calling(&self.endpoint, "snapshot", error))
    }
}

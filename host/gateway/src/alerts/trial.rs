//! Sends a test alert to everybody who hears of a domain, and tells what each said. Nothing is kept or tried again.

use super::{
    Tested,
    notice::{Body, Notice, short},
    teller::Teller,
};
use crate::config::DomainConfig;
use mail::MailId;
use tokio::task::JoinSet;

const EVENT: &str = "test";

impl Teller {
    pub(super) async fn test(&self, domain: &DomainConfig) -> Vec<Tested> {
        let at = self.clock.now();
        let id = MailId::new(at, fastrand::u128(..));
        let body = Body {
            id: id.to_string(),
            event: EVENT,
            at: at.to_rfc3339(),
            gateway: &self.hostname,
            domain: &domain.name,
            next_hop: domain.next_hops.first(),
            reason: Some("waypost alert test: nothing has happened".to_owned()),
            since: None,
            waiting: None,
            first_expiry: None,
        };
        let (body, mut tries) = (body.json(), JoinSet::new());
        for (place, target) in self.targets(domain).into_iter().enumerate() {
            let (domain, event, body) = (domain.name.clone(), EVENT.to_owned(), body.clone());
            let notice = Notice { id, place, target, domain, event, at, body };
            let sender = self.sender.clone();
            tries.spawn(async move {
                let said = sender.send(&notice).await;
                let (accepted, said) = (said.is_ok(), said.unwrap_or_else(|why| why));
                (place, Tested { target: notice.target.as_text(), accepted, said: short(&said) })
            });
        }
        let mut tested = tries.join_all().await;
        tested.sort_by_key(|(place, _)| *place);
        tested.into_iter().map(|(_, tested)| tested).collect()
    }
}

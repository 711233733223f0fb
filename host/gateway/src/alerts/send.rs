//! One try to hand one alert to one target. Decides what counts as accepted; the outbox decides what follows.

use super::{command, notice::Notice, webhook::Webhook};
use crate::{clock::Clock, config::AlertTarget};
use std::sync::Arc;

#[derive(Clone)]
pub struct Sender {
    pub clock: Clock,
    pub webhook: Arc<Webhook>,
}

impl Sender {
    /// What the target said: Ok where it has the alert. Bounded in time.
    pub async fn send(&self, notice: &Notice) -> Result<String, String> {
        match &notice.target {
            AlertTarget::Webhook(url) => {
                self.webhook.post(url, &notice.id.to_string(), self.clock.date(), &notice.body).await
            }
            AlertTarget::Command(words) => command::run(words, notice).await,
        }
    }
}

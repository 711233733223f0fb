//! One connection's life: jobs in turn until there are none for a while, or the next hop is gone.

use super::{connection::Connection, deliver::Deliverer, lane::Lane};
use std::sync::Arc;

pub async fn work(lane: Arc<Lane>, deliverer: Arc<Deliverer>) {
    let mut kept: Option<Connection> = None;
    while let Some(job) = lane.next_job(&deliverer.shutdown).await {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => match deliverer.connect(&lane.key).await {
                Ok(connection) => {
                    lane.connected(true);
                    connection
                }
                Err(failure) => {
                    if lane.not_let_in() {
                        lane.put_back(job, &deliverer);
                    } else {
                        deliverer.connect_failed(&lane, job, failure);
                    }
                    return;
                }
            },
        };
        kept = deliverer.attempt(&lane, connection, job).await;
        if kept.is_none() {
            lane.connected(false);
        }
    }
    if let Some(connection) = kept {
        lane.connected(false);
        connection.quit().await;
    }
}

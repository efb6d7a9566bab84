//! Writes a data set into an etcd: few large transactions, one after the other, so that revisions are the same each time.

use std::collections::HashSet;
use std::time::Instant;

use etcd_client::{Client, Txn, TxnOp};
use tokio::sync::mpsc::channel;

use crate::Outcome;
use crate::data::{DataSet, Put};

/// etcd refuses requests beyond 1.5 MiB (`--max-request-bytes`); a release of Helm's may add nearly one to a batch.
const BATCH_BYTES: usize = 500_000;
/// etcd's default is 128 (`--max-txn-ops`); `benches/peers/run` raises it to this.
const BATCH_PUTS: usize = 1000;
/// Batches made ahead while etcd is busy.
const AHEAD: usize = 4;

/// Writes `megabytes` of keys and values. They take about a fifth more in the database.
pub(crate) async fn load(endpoint: &str, megabytes: u64, seed: u64) -> Outcome {
    let began = Instant::now();
    let mut client = Client::connect([endpoint], None).await?;
    let (made, mut batches) = channel(AHEAD);
    let maker = std::thread::spawn(move || {
        let transactions = Batcher { puts: DataSet::new(seed), pending: None, left: megabytes * 1_000_000 };
        for batch in transactions {
            if made.blocking_send(batch).is_err() {
                break;
            }
        }
    });
    let (mut puts, mut bytes) = (0, 0);
    while let Some(batch) = batches.recv().await {
        puts += batch.len();
        bytes += batch.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let operations: Vec<TxnOp> =
            batch.into_iter().map(|(key, value)| TxnOp::put(key, value, None)).collect();
        client.txn(Txn::new().and_then(operations)).await?;
    }
    maker.join().map_err(|_| "the data set could not be made")?;
    println!("{puts} puts, {bytes} bytes, {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Gathers writes into transactions, none of which writes a key twice: etcd refuses that.
struct Batcher {
    puts: DataSet,
    pending: Option<Put>,
    left: u64,
}

impl Iterator for Batcher {
    type Item = Vec<Put>;

    fn next(&mut self) -> Option<Vec<Put>> {
        let mut keys = HashSet::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while self.left > 0 && bytes < BATCH_BYTES && batch.len() < BATCH_PUTS {
            let Some(put) = self.pending.take().or_else(|| self.puts.next()) else { break };
            if !keys.insert(put.0.clone()) {
                self.pending = Some(put);
                break;
            }
            let size = put.0.len() + put.1.len();
            bytes += size;
            self.left = self.left.saturating_sub(size as u64);
            batch.push(put);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

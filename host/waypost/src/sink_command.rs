//! `waypost sink`: prints each mail as it comes.

use crate::{
    cli::SinkArgs,
    sink::{Arrived, Sink},
};
use std::io::{self, Write};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub async fn run(args: SinkArgs) -> io::Result<()> {
    let hostname = "sink.localhost".parse().map_err(io::Error::other)?;
    let at = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.listen));
    let sink = Sink::bind(args.listen, hostname).await.map_err(at)?;
    println!("listening on {}", sink.address()?);
    if let Some(dir) = &args.save {
        std::fs::create_dir_all(dir)?;
    }
    let (sender, mut arrived) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let running = tokio::spawn(sink.run(sender, stop.clone()));
    let mut count = 0;
    while args.count.is_none_or(|wanted| count < wanted) {
        let mail = tokio::select! {
            mail = arrived.recv() => mail,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(mail) = mail else { break };
        count += 1;
        show(&mail, count, &args)?;
    }
    // The reply to the last mail is on its way: let its session end by itself.
    stop.cancel();
    running.await.map_err(io::Error::other)?
}

fn show(mail: &Arrived, number: u64, args: &SinkArgs) -> io::Result<()> {
    let recipients: Vec<&str> = mail.recipients.iter().map(|r| r.as_str()).collect();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "── mail {number}: {} bytes, from <{}> to {}",
        mail.content.len(),
        mail.sender,
        recipients.join(", ")
    )?;
    if let Some(dir) = &args.save {
        std::fs::write(dir.join(format!("{number:06}.eml")), &mail.content)?;
    }
    if !args.quiet {
        out.write_all(&mail.content)?;
    }
    out.flush()
}

//! Runs plugins outside of a gateway: scenarios, single mails, recorded mail. The engine and its limits are the real
//! ones; the clock, DNS, web servers and state are made up.

mod bench;
mod check;
mod facts;
mod fake;
mod log;
mod question;
pub mod replay;
mod run;
pub mod scenario;
mod setting;
mod shown;
mod table;
pub mod text;

pub use bench::{Answered, Bench, Plugin, Refused};
pub use check::Difference;
pub use facts::Facts;
pub use fake::{
    dns::{DnsRecords, FakeDns},
    http::{Asked, Exchange},
    kv::{Entry, MemoryKv},
};
pub use log::LogLine;
pub use question::{After, Answer, Question};
pub use run::{LoadReport, ScenarioReport, StepReport, run};
pub use scenario::Scenario;
pub use scenario::content::with_crlf;
pub use setting::{Names, START, Setting, Web};
pub use table::parse_table;
pub use toml_keys::{Mistake, Mistakes};

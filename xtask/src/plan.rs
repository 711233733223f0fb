//! Runs steps one after the other, each with a heading and its time.

use crate::tools::Failure;
use std::time::{Duration, Instant};

pub(crate) struct Step<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> Result<(), Failure> + 'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(name: &'static str, run: impl Fn() -> Result<(), Failure> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Stops at the first that fails.
pub(crate) fn run(steps: &[Step<'_>]) -> Result<(), Failure> {
    let mut times = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n== {} ({} of {})", step.name, index + 1, steps.len());
        let started = Instant::now();
        let outcome = (step.run)();
        let took = started.elapsed();
        eprintln!("== {} {} in {}", step.name, if outcome.is_ok() { "done" } else { "FAILED" }, shown(took));
        times.push(format!("{} {}", step.name, shown(took)));
        outcome?;
    }
    eprintln!("\n== all done: {}", times.join(", "));
    Ok(())
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_first_failure_ends_the_plan() {
        let ran = RefCell::new(Vec::new());
        let step = |name: &'static str, fails: bool| {
            let ran = &ran;
            Step::new(name, move || {
                ran.borrow_mut().push(name);
                if fails { Err(Failure::Other("no".into())) } else { Ok(()) }
            })
        };
        assert!(run(&[step("a", false), step("b", true), step("c", false)]).is_err());
        assert_eq!(*ran.borrow(), ["a", "b"]);
    }

    #[test]
    fn minutes_are_told_from_a_minute_on() {
        assert_eq!(shown(Duration::from_millis(59_900)), "59.9 s");
        assert_eq!(shown(Duration::from_secs(125)), "2 min 5 s");
    }
}

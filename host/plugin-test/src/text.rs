//! Reports as a person reads them in a terminal. Decides nothing.

use crate::run::{LoadReport, ScenarioReport, StepReport};
use mail::{CallRecord, Spent};
use std::fmt::Write;

/// The scenario's name, then a line for each step; below it what differs. `verbose` tells of steps that hold, too, what
/// they changed, called and logged.
pub fn scenario(report: &ScenarioReport, verbose: bool) -> String {
    let mut text = format!("{}\n", report.scenario);
    match &report.load {
        LoadReport::Loaded => {}
        LoadReport::Refused { reason } => {
            let _ = writeln!(text, "  ✓ it is refused: {}", first_line(reason));
        }
        LoadReport::Wrong { expected, got } => {
            text.push_str("  ✗ load\n");
            difference(&mut text, "load", expected, got);
        }
    }
    report.steps.iter().for_each(|step| one_step(&mut text, report, step, verbose));
    text
}

fn one_step(text: &mut String, report: &ScenarioReport, step: &StepReport, verbose: bool) {
    let mark = if step.holds() { '✓' } else { '✗' };
    let _ = write!(text, "  {mark} {}", step.name);
    if let Some(call) = &step.call {
        let _ = write!(text, "  [{}: {}]  {}", step.hook.as_str(), call.answer, cost(call));
    }
    text.push('\n');
    for found in &step.differences {
        difference(text, &found.what, &found.expected, &found.got);
    }
    for asked in &step.strangers {
        let _ = writeln!(text, "      no [[http]] fits {} {}", asked.method, asked.url);
    }
    if step.holds() && !verbose {
        return;
    }
    if let Some(call) = &step.call {
        details(text, call);
    }
    for line in &step.log {
        let _ = writeln!(text, "      log: {line}");
    }
    if !step.holds() {
        let _ = writeln!(text, "      at {}:{}", report.file.display(), step.line);
    }
}

/// What the plugin changed and which functions of the host it called.
pub fn details(text: &mut String, call: &CallRecord) {
    for edit in &call.edits {
        let _ = writeln!(text, "      {edit}");
    }
    if !call.host_calls.is_empty() {
        let calls: Vec<String> = call.host_calls.iter().map(counted).collect();
        let _ = writeln!(text, "      called {}", calls.join(", "));
    }
}

fn counted((name, count): &(String, u32)) -> String {
    if *count == 1 { name.clone() } else { format!("{name} ×{count}") }
}

fn difference(text: &mut String, what: &str, expected: &str, got: &str) {
    let _ = writeln!(text, "      {what}");
    for (word, value) in [("expected", expected), ("got", got)] {
        // Lists and backtraces stand below each other.
        for (index, line) in value.lines().enumerate() {
            let _ = writeln!(text, "        {:<8} {line}", if index == 0 { word } else { "" });
        }
    }
}

/// `12,345 fuel, 1.1 MiB, 4 host calls, 0.4 ms`
pub fn cost(call: &CallRecord) -> String {
    let calls: u32 = call.host_calls.iter().map(|(_, count)| count).sum();
    let Spent { fuel, peak_memory, wall_us, .. } = call.spent;
    let fuel = fuel.map_or_else(String::new, |fuel| format!("{} fuel, ", grouped(fuel)));
    let memory = peak_memory as f64 / f64::from(1 << 20);
    format!("{fuel}{memory:.1} MiB, {calls} host calls, {:.1} ms", wall_us as f64 / 1000.0)
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 scenarios, 9 steps: 8 hold, 1 fails`
pub fn summary(reports: &[ScenarioReport]) -> String {
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    // A load that is told about counts as a step.
    let loads = reports.iter().filter(|report| report.load != LoadReport::Loaded).count();
    let steps = reports.iter().map(|report| report.steps.len()).sum::<usize>() + loads;
    let failed = failed(reports);
    let outcome = match failed {
        0 => "all hold".to_owned(),
        1 => format!("{} hold, 1 fails", steps - 1),
        _ => format!("{} hold, {failed} fail", steps - failed),
    };
    format!("{}, {}: {outcome}", plural(reports.len(), "scenario"), plural(steps, "step"))
}

/// Steps and loads that don't hold.
pub fn failed(reports: &[ScenarioReport]) -> usize {
    let of_one = |report: &ScenarioReport| {
        usize::from(!report.load.holds()) + report.steps.iter().filter(|step| !step.holds()).count()
    };
    reports.iter().map(of_one).sum()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!([grouped(7), grouped(1000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
    }
}

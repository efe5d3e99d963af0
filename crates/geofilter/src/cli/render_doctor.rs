//! What people read of `doctor`.

use std::collections::BTreeMap;
use std::fmt::Write;

use geofilter_core::doctor::{Code, Finding, Report, Severity};

use super::render::{Style, words};

/// `doctor`; `verbose` lists what passed.
pub(crate) fn report(report: &Report, verbose: bool, style: Style) -> String {
    let mut text = String::new();
    report.findings.iter().for_each(|it| finding(&mut text, it, style));
    let passed = report.passed.len();
    let checks = if passed == 1 { "check" } else { "checks" };
    let which = if verbose { format!(": {}", list(&report.passed)) } else { String::new() };
    let _ = writeln!(text, "{} {checks} passed{which}", style.green(&passed.to_string()));
    let mut reasons: BTreeMap<&str, Vec<Code>> = BTreeMap::new();
    for it in &report.not_checked {
        reasons.entry(&it.why).or_default().push(it.code);
    }
    for (why, codes) in reasons {
        let _ = writeln!(text, "{} {why}: {}", style.yellow("Not checked:"), list(&codes));
    }
    text
}

fn finding(text: &mut String, finding: &Finding, style: Style) {
    let severity = match finding.severity {
        Severity::Problem => style.red("Problem"),
        Severity::Warning => style.yellow("Warning"),
        Severity::Note => style.bold("Note"),
    };
    let code = style.faint(&format!("[{}]", words(&finding.code)));
    let _ = writeln!(text, "{severity} {code} {}\n    {}\n", finding.message, finding.remedy);
}

fn list(codes: &[Code]) -> String {
    codes.iter().map(words).collect::<Vec<_>>().join(" ")
}

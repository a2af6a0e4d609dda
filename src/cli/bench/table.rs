//! A run beside the recorded one, as people read it.

use std::fmt::Write;

use super::record::{BUILD, Record};

/// The table, and what is to be known about it.
pub(super) fn text(run: &Record, recorded: &Record, in_memory: bool) -> String {
    let mut out = String::new();
    let written = write_all(&mut out, run, recorded, in_memory);
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    out
}

fn write_all(
    out: &mut String,
    run: &Record,
    recorded: &Record,
    in_memory: bool,
) -> std::fmt::Result {
    writeln!(
        out,
        "tmws {} ({}), {}, one shard, {} connections, {} s each; {} cores, {}",
        run.version, run.build, run.io, run.connections, run.seconds, run.cores, run.machine
    )?;
    writeln!(
        out,
        "recorded: {} ({}), {}, {}, {} cores, {}\n",
        recorded.version,
        recorded.build,
        recorded.date,
        recorded.commit,
        recorded.cores,
        recorded.machine
    )?;
    writeln!(
        out,
        "{:<16} {:>9} {:>11} {:>11} {:>11} {:>8} {:>9} {:>6}",
        "", "in flight", "answers/s", "server CPU", "recorded", "to echo", "recorded", "ratio"
    )?;
    for stage in &run.stages {
        let old = recorded.stage(&stage.name, stage.in_flight);
        let to_echo = run.to_echo(stage);
        let old_to_echo = old.and_then(|old| recorded.to_echo(old));
        let ratio = to_echo.zip(old_to_echo).map(|(new, old)| new / old);
        writeln!(
            out,
            "{:<16} {:>9} {:>11.0} {:>11} {:>11} {:>8} {:>9} {:>6}",
            stage.name,
            stage.in_flight,
            stage.answers_per_second,
            ns(Some(stage.server_cpu_ns)),
            ns(old.map(|old| old.server_cpu_ns)),
            times(to_echo),
            times(old_to_echo),
            times(ratio),
        )?;
    }
    writeln!(
        out,
        "{:<16} {:>9} {:>11.0} {:>11} {:>11} {:>8} {:>9} {:>6}",
        "sync of a page",
        "",
        1e6 / run.sync_us,
        format!("{:.0} us", run.sync_us),
        format!("{:.0} us", recorded.sync_us),
        "",
        "",
        times(Some(run.sync_us / recorded.sync_us)),
    )?;
    write!(
        out,
        "\nEvery answer was right. Machines differ, so compare the multiples of the echo: ratio is \
         that of\nthis machine to the recorded one, and more than 1 is slower."
    )?;
    notes(out, run, recorded, in_memory)
}

fn notes(out: &mut String, run: &Record, recorded: &Record, in_memory: bool) -> std::fmt::Result {
    if run.is_busy() {
        write!(
            out,
            "\nThe machine is busy (load average {:.1} on {} cores): rates are what the others leave, and \
             their\ncaches inflate CPU as well.",
            run.load_average, run.cores
        )?;
    }
    if recorded.is_busy() {
        write!(
            out,
            "\nThe recorded machine was busy as well (load average {:.1} on {} cores).",
            recorded.load_average, recorded.cores
        )?;
    }
    if recorded.build != BUILD {
        write!(
            out,
            "\nThis is a {BUILD} build, the recorded figures are of a {} build: they do not compare.",
            recorded.build
        )?;
    }
    if run.connections != recorded.connections {
        write!(
            out,
            "\nThe recorded figures are of {} connections.",
            recorded.connections
        )?;
    }
    if in_memory {
        write!(
            out,
            "\nThe directory is in memory: a sync costs nothing there. Name one on the disk with --dir."
        )?;
    }
    Ok(())
}

fn ns(value: Option<f64>) -> String {
    match value {
        Some(value) if value < 1e5 => format!("{value:.0} ns"),
        Some(value) => format!("{:.0} us", value / 1e3),
        None => "-".to_owned(),
    }
}

fn times(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::super::load::Stage;
    use super::super::record::Record;
    use super::text;

    fn run(echo_ns: f64, health_ns: f64, load_average: f64) -> Record {
        let mut record = Record::begin("tmws bench".to_owned(), 64, 1.0);
        let stage = |name: &str, server_cpu_ns| Stage {
            name: name.to_owned(),
            in_flight: 16,
            answers_per_second: 1e6,
            server_cpu_ns,
        };
        record.stages = vec![stage("echo", echo_ns), stage("health_check", health_ns)];
        (record.load_average, record.cores, record.sync_us) = (load_average, 2, 100.0);
        record
    }

    #[test]
    fn machines_are_compared_by_multiples_of_the_echo() {
        // A machine of half the speed on which the call costs as many echoes.
        let table = text(&run(1_000.0, 1_800.0, 0.1), &run(500.0, 900.0, 0.1), false);
        let line = table.lines().find(|line| line.starts_with("health_check"));
        let columns: Vec<&str> = line.unwrap().split_whitespace().collect();
        let expected = [
            "health_check",
            "16",
            "1000000",
            "1800",
            "ns",
            "900",
            "ns",
            "1.80",
            "1.80",
            "1.00",
        ];
        assert_eq!(columns, expected);
        assert!(
            !table.contains("busy") && !table.contains("in memory"),
            "{table}"
        );
    }

    #[test]
    fn what_spoils_figures_is_said() {
        let mut recorded = run(1.0, 2.0, 0.1);
        recorded.build = "other".to_owned();
        recorded.connections = 7;
        let table = text(&run(1.0, 2.0, 5.0), &recorded, true);
        for note in [
            "The machine is busy (load average 5.0 on 2 cores)",
            "do not compare",
            "of 7 connections",
            "in memory",
        ] {
            assert!(table.contains(note), "{note} is missing in\n{table}");
        }
    }
}

//! The screen of `tmws top`.

use std::fmt::Write;

use super::rates::Rates;
use crate::domain::Timestamp;
use crate::operations::{Point, Report};
use crate::telemetry::performance::Figure;

/// Everything, in lines of at most a hundred columns as long as numbers are of usual size.
pub(super) fn text(rates: &Rates, report: &Report) -> String {
    let mut out = String::new();
    let written = write_all(&mut out, rates, report);
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    out
}

fn write_all(out: &mut String, rates: &Rates, report: &Report) -> std::fmt::Result {
    head(out, rates, report)?;
    shards(out, rates, report)?;
    if let Some(current) = &report.current {
        waiting(out, current)?;
    }
    operations(out, report)?;
    advice(out, report)
}

fn head(out: &mut String, rates: &Rates, report: &Report) -> std::fmt::Result {
    let (server, totals) = (&report.server, &report.totals);
    writeln!(
        out,
        "tmws {}  up {}  {}, {} shards on {} cores, {}  {}",
        server.version,
        duration(server.uptime_seconds),
        server.io,
        server.shards,
        server.cores,
        server.store,
        // To the second, as people read it.
        Timestamp::now()
            .to_string()
            .split('.')
            .next()
            .unwrap_or_default(),
    )?;
    let current = report.current.as_ref();
    let load = current
        .and_then(|point| point.cpu)
        .map(|cpu| cpu.load_average);
    let files = current
        .and_then(|point| point.network)
        .map(|network| network.open_files);
    let disk = current.and_then(|point| point.disk);
    writeln!(
        out,
        "cpu {:.2} cores  load {}  memory {}  files {}  disk {}/s written, {} free",
        rates.cpu_share,
        number(load.unwrap_or_default()),
        bytes(totals.resident_bytes),
        number(files.unwrap_or_default()),
        bytes(
            disk.map(|disk| disk.written_bytes_per_second)
                .unwrap_or_default()
        ),
        bytes(disk.map(|disk| disk.free_bytes).unwrap_or_default()),
    )?;
    writeln!(
        out,
        "connections {} of {}, {} new/s  sessions {}  http {}/s",
        totals.connections,
        server.connections_max,
        rate(rates.connections_opened),
        totals.sessions,
        rate(rates.http_requests),
    )?;
    writeln!(
        out,
        "calls {}/s  errors {}/s  messages in {}/s {}/s  out {}/s {}/s\n",
        rate(rates.calls),
        rate(rates.errors),
        rate(rates.messages_received),
        bytes(rates.received_bytes.into()),
        rate(rates.messages_sent),
        bytes(rates.sent_bytes.into()),
    )
}

fn shards(out: &mut String, rates: &Rates, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "shard  turns   cpu     turns/s  turn p99  ring     buffers  connections      in/s     out/s"
    )?;
    for (at, shard) in rates.shards.iter().enumerate() {
        let figures = report.shards.get(at).copied().unwrap_or_default();
        writeln!(
            out,
            "{at:>5} {:>6} {:>5} {:>11} {:>9} {:>5} {:>11} {:>12} {:>9} {:>9}",
            percent(shard.turn_share.into()),
            percent(shard.cpu_share.into()),
            rate(shard.turns),
            time(figures.turn_p99_us, 1e-6),
            number(figures.ring_depth),
            format!(
                "{}/{}",
                number(figures.buffers_lent),
                number(figures.buffers)
            ),
            number(figures.connections),
            rate(shard.messages_received),
            rate(shard.messages_sent),
        )?;
    }
    Ok(())
}

fn waiting(out: &mut String, current: &Point) -> std::fmt::Result {
    let (queues, deliveries) = (&current.queues, &current.deliveries);
    writeln!(
        out,
        "\nstore: {} writes, {} reads wait; writer {} busy, {} requests a transaction; readers {}",
        number(queues.store_writes),
        number(queues.store_reads),
        percent(queues.store_writer_share),
        number(queues.store_group),
        percent(queues.store_reader_share),
    )?;
    writeln!(
        out,
        "vectors: {} questions, {} memories wait; threads {} busy   between shards: {} letters, {} changes",
        number(queues.embedding_queries),
        number(queues.embedding_texts),
        percent(queues.compute_share),
        number(queues.letters),
        number(queues.changes),
    )?;
    writeln!(
        out,
        "deliveries: {} sessions; {}/{}/{}/{} wait by lane, {} unsettled; {} sent/s, {} repeated/s",
        number(deliveries.sessions_connected),
        number(deliveries.urgent),
        number(deliveries.high),
        number(deliveries.normal),
        number(deliveries.low),
        number(deliveries.in_window),
        number(deliveries.sent_per_second),
        number(deliveries.repeated_per_second),
    )
}

fn operations(out: &mut String, report: &Report) -> std::fmt::Result {
    let hottest = &report.operations;
    if hottest.last_minute.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<24} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}",
        format!("in {} s", number(hottest.seconds)),
        "calls",
        "errors",
        "mean",
        "p50",
        "p99",
        "total",
    )?;
    for operation in &hottest.last_minute {
        writeln!(
            out,
            "{:<24} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9}",
            operation.operation,
            operation.calls,
            operation.errors,
            time(operation.mean_ms, 1e-3),
            time(operation.p50_ms, 1e-3),
            time(operation.p99_ms, 1e-3),
            time(operation.total_ms, 1e-3),
        )?;
    }
    Ok(())
}

fn advice(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.bottlenecks.is_empty() {
        return write!(out, "\nnothing limits the server");
    }
    for (bottleneck, advice) in report.bottlenecks.iter().zip(&report.advice) {
        write!(
            out,
            "\n{}: {}\n  {}",
            bottleneck.name, bottleneck.seen, advice.action
        )?;
    }
    Ok(())
}

/// A number with at most two digits behind the point, as many as it is worth.
fn number(figure: Figure) -> String {
    figure.get().map_or_else(|| "-".to_owned(), rate)
}

fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 && value.fract() != 0.0 => format!("{value:.2}"),
        value if value < 1e6 => format!("{value:.0}"),
        value => format!("{:.2}M", value / 1e6),
    }
}

fn percent(share: Figure) -> String {
    let text = |share: f64| format!("{:.0} %", share * 100.0);
    share.get().map_or_else(|| "-".to_owned(), text)
}

fn bytes(figure: Figure) -> String {
    let Some(value) = figure.get() else {
        return "-".to_owned();
    };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", units[unit])
}

/// A time, given in units of so many seconds.
fn time(figure: Figure, unit: f64) -> String {
    let Some(seconds) = figure.get().map(|value| value * unit) else {
        return "-".to_owned();
    };
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, number, percent, text, time};
    use crate::cli::top::rates::{Rates, ShardRates};
    use crate::operations::{Advice, Bottleneck, HotOperation, Report};
    use crate::telemetry::performance::Figure;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(bytes(1_023.0.into()), "1023 B");
        assert_eq!(bytes(1_536.0.into()), "1.5 KiB");
        assert_eq!(bytes(5e9.into()), "4.7 GiB");
        assert_eq!(time(250.0.into(), 1e-6), "250 us");
        assert_eq!(time(2.5.into(), 1e-3), "2.5 ms");
        assert_eq!(time(61_000.0.into(), 1e-3), "61.0 s");
        assert_eq!(percent(0.256.into()), "26 %");
        assert_eq!(number(1_234_567.0.into()), "1.23M");
        assert_eq!(duration(90_000.0), "1 d 1 h");
        for unknown in [
            number(Figure::default()),
            percent(Figure::default()),
            bytes(Figure::default()),
        ] {
            assert_eq!(unknown, "-");
        }
    }

    #[test]
    fn a_screen_shows_shards_operations_and_advice() {
        let rates = Rates {
            calls: 1_234.0,
            shards: vec![ShardRates {
                turn_share: 0.5,
                ..ShardRates::default()
            }],
            ..Rates::default()
        };
        let mut report = Report::default();
        report.operations.last_minute.push(HotOperation {
            operation: "memory/search".into(),
            calls: 7,
            mean_ms: 1.5.into(),
            ..HotOperation::default()
        });
        let calm = text(&rates, &report);
        assert!(
            calm.contains("calls 1234/s") && calm.contains("50 %"),
            "{calm}"
        );
        assert!(
            calm.contains("memory/search") && calm.contains("1.5 ms"),
            "{calm}"
        );
        assert!(calm.ends_with("nothing limits the server"), "{calm}");
        report.bottlenecks.push(Bottleneck {
            name: "disk_full".into(),
            seen: "little is free".into(),
            ..Bottleneck::default()
        });
        report.advice.push(Advice {
            action: "make room".into(),
            ..Advice::default()
        });
        let busy = text(&rates, &report);
        assert!(
            busy.ends_with("disk_full: little is free\n  make room"),
            "{busy}"
        );
    }
}

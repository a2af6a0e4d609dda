//! Figures of the report, and groups of them that are joined over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// A number that may not be known: this kernel or this store does not tell it. Such a one is not written.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
pub struct Figure(f64);

/// Digits behind the point that are written: shares of a core are exact to a hundredth of a percent.
const DIGITS: f64 = 1e4;

impl Default for Figure {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<u64> for Figure {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Figure {
    fn from(value: Option<T>) -> Self {
        value.map(Into::into).unwrap_or_default()
    }
}

impl Figure {
    /// The number, if it is known.
    pub fn get(self) -> Option<f64> {
        (!self.0.is_nan()).then_some(self.0)
    }

    /// The number; nothing counts as 0.
    pub fn or_zero(self) -> f64 {
        self.get().unwrap_or(0.0)
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.0.is_nan()
    }

    /// The mean of several, each with the seconds for which it stood.
    pub(super) fn mean(parts: impl Iterator<Item = (f64, Self)>) -> Self {
        let (mut sum, mut seconds) = (0.0, 0.0);
        for (weight, figure) in parts.filter(|(_, figure)| !figure.is_unknown()) {
            sum += figure.0 * weight;
            seconds += weight;
        }
        Self(sum / seconds)
    }

    /// The largest of several.
    pub(super) fn most(parts: impl Iterator<Item = (f64, Self)>) -> Self {
        let largest = |largest: f64, (_, figure): (f64, Self)| largest.max(figure.0);
        Self(parts.fold(f64::NAN, largest))
    }

    /// All of them together.
    pub(super) fn sum(parts: impl Iterator<Item = (f64, Self)>) -> Self {
        let known = parts.filter_map(|(_, figure)| figure.get());
        known.reduce(|sum, value| sum + value).into()
    }

    /// The latest.
    pub(super) fn last(parts: impl Iterator<Item = (f64, Self)>) -> Self {
        let known = parts.filter_map(|(_, figure)| figure.get());
        known.last().into()
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = (self.0 * DIGITS).round() / DIGITS;
        if rounded.fract() == 0.0 {
            // Saturates, which no count reaches.
            serializer.serialize_i64(rounded as i64)
        } else {
            serializer.serialize_f64(rounded)
        }
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

/// Declares a group of figures; behind each stands how several of them become one.
macro_rules! figures {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($(#[$field_meta:meta])* $field:ident: $join:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default)]
        $vis struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "Figure::is_unknown")]
                pub $field: Figure,
            )*
        }

        impl $name {
            /// One of several, each with the seconds for which it stood; the latest comes last.
            pub(super) fn join<'a>(parts: impl Iterator<Item = (f64, &'a Self)> + Clone) -> Self {
                Self {
                    $($field: Figure::$join(parts.clone().map(|(seconds, part)| (seconds, part.$field))),)*
                }
            }
        }
    };
}

pub(super) use figures;

#[cfg(test)]
mod tests {
    use super::Figure;

    figures! {
        /// Of a test.
        Sample {
            /// A rate.
            rate: mean,
            /// A depth.
            depth: most,
            /// A count.
            count: sum,
            /// A size.
            size: last,
        }
    }

    fn sample(values: [Option<f64>; 4]) -> Sample {
        let [rate, depth, count, size] = values.map(Figure::from);
        Sample {
            rate,
            depth,
            count,
            size,
        }
    }

    #[test]
    fn several_become_one_each_in_its_way() {
        let parts = [
            (1.0, sample([Some(10.0), Some(3.0), Some(1.0), Some(7.0)])),
            (3.0, sample([Some(2.0), Some(1.0), Some(4.0), Some(8.0)])),
            (9.0, sample([None, None, None, None])),
        ];
        let joined = Sample::join(parts.iter().map(|(seconds, part)| (*seconds, part)));
        let values = [joined.rate, joined.depth, joined.count, joined.size];
        assert_eq!(values.map(Figure::or_zero), [4.0, 3.0, 5.0, 8.0]);
        let nothing = Sample::join(std::iter::empty());
        let values = [nothing.rate, nothing.depth, nothing.count, nothing.size];
        assert!(values.iter().all(Figure::is_unknown));
    }

    #[test]
    fn figures_are_written_as_short_as_they_are_exact() {
        let sample = sample([Some(0.123_456), None, Some(12.0), Some(1e12)]);
        let text = sonic_rs::to_string(&sample).unwrap();
        assert_eq!(text, r#"{"rate":0.1235,"count":12,"size":1000000000000}"#);
        let read: Sample = sonic_rs::from_str(&text).unwrap();
        assert_eq!((read.count.or_zero(), read.depth.get()), (12.0, None));
    }
}

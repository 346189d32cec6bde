//! The signal along the fibre: a row is a pure function of (signal, channels, frequencies, nfft, time).
//!
//! A payload value is a float16, whose bit pattern is, up to rounding, 1024 times the logarithm of the value. So rows are
//! computed in the logarithm with 16-bit integers, which the compiler vectorises, and no conversion is left: the sum of a
//! background that falls with frequency, noise from one table at an offset that (signal, channel, time) choose, and
//! vehicles that move along the fibre. Integers also make every platform agree on every byte.

use std::sync::OnceLock;

use crate::hash::{mix, mix3};
use crate::recordings::RECORDING_S;

/// What a row is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    /// The fibre, live.
    Live,
    /// Recordings; which one follows from the time.
    Recorded,
}

/// Bits of 1.0 as float16.
const ONE: i16 = 15 << 10;
/// Bits of the greatest value, 1143, as captured.
const CEILING: i16 = 0x6477;
/// Background at 0 Hz, in 1/1024 octaves above 1.0, and how much of it is lost per kHz.
const BACKGROUND: i64 = 4_096;
const FALL_PER_KHZ: i64 = 4_096;
/// Lines of mains hum.
const HUM_MHZ: u64 = 50_000;
const HUM: i64 = 1_500;
/// Entries of the noise table that an offset may choose, and the longest run read from one offset.
const NOISE_OFFSETS: usize = 1 << 16;
const RUN: usize = 1 << 12;

/// A moving source: vehicles of one kind, one per `PERIOD` of fibre, so that every view has some.
struct Vehicle {
    /// Speed in channels a second.
    speed: u64,
    /// Start in thousandths of a channel.
    phase: u64,
    /// Centre of its spectrum in mHz.
    centre_mhz: u64,
    /// Loss per Hz from the centre, in 1/1024 octaves.
    slope: u64,
}

/// Distance between vehicles of one kind, in thousandths of a channel.
const PERIOD: u64 = 120_000;
/// Loudness of a vehicle where it is, and its loss per channel of distance, in 1/1024 octaves.
const LOUDNESS: u64 = 5_000;
const LOSS_PER_CHANNEL: u64 = 450;
const VEHICLES: [Vehicle; 5] = [
    Vehicle {
        speed: 3,
        phase: 7_000,
        centre_mhz: 60_000,
        slope: 30,
    },
    Vehicle {
        speed: 11,
        phase: 31_000,
        centre_mhz: 140_000,
        slope: 18,
    },
    Vehicle {
        speed: 19,
        phase: 90_000,
        centre_mhz: 35_000,
        slope: 60,
    },
    Vehicle {
        speed: 5,
        phase: 64_000,
        centre_mhz: 320_000,
        slope: 24,
    },
    Vehicle {
        speed: 0,
        phase: 20_000,
        centre_mhz: 210_000,
        slope: 90,
    },
];

/// What the rows of one stream are computed from.
#[derive(Debug)]
pub(crate) struct Field {
    /// Identifies the function: equal keys, equal rows at equal times.
    pub(crate) key: u64,
    signal: Signal,
    first_channel: u32,
    channels: u32,
    background: Vec<i16>,
    /// Per vehicle and bin: what its spectrum loses there.
    spectra: Vec<Vec<i16>>,
}

impl Field {
    /// The field of a block of channels and a run of frequency bins.
    pub(crate) fn new(
        signal: Signal,
        first_channel: u32,
        channels: u32,
        nfft: u32,
        (first_bin, bins): (u32, u32),
        step_mhz: u64,
    ) -> Self {
        let frequency = |bin: u32| u64::from(bin) * step_mhz;
        let run = first_bin..first_bin + bins;
        let background = run
            .clone()
            .map(|bin| background(frequency(bin), step_mhz))
            .collect();
        let spectra = VEHICLES
            .iter()
            .map(|vehicle| {
                run.clone()
                    .map(|bin| spectrum_loss(vehicle, frequency(bin)))
                    .collect()
            })
            .collect();
        let signal_word = match signal {
            Signal::Live => 0,
            Signal::Recorded => 1,
        };
        let block = mix3(signal_word, u64::from(first_channel), u64::from(channels));
        let key = mix3(
            block,
            u64::from(nfft),
            mix3(u64::from(first_bin), u64::from(bins), step_mhz),
        );
        Self {
            key,
            signal,
            first_channel,
            channels,
            background,
            spectra,
        }
    }

    /// Values of a row: channels times bins.
    pub(crate) fn values(&self) -> usize {
        self.background.len() * usize::try_from(self.channels).unwrap_or(usize::MAX)
    }

    /// Appends the row at a time as float16 little-endian, channel by channel, and returns its least and greatest bits.
    pub(crate) fn render(&self, time_ns: u64, out: &mut Vec<u8>) -> (u16, u16) {
        let noise = noise();
        let seed = self.seed(time_ns);
        let mut values = vec![0_i16; self.background.len()];
        let (mut least, mut greatest) = (i16::MAX, 0_i16);
        for channel in self.first_channel..self.first_channel + self.channels {
            for (run, (values, background)) in values
                .chunks_mut(RUN)
                .zip(self.background.chunks(RUN))
                .enumerate()
            {
                let word = mix3(seed, u64::from(channel), u64::try_from(run).unwrap_or(0));
                let offset = usize::try_from(word % (1 << 16)).unwrap_or(0);
                for ((value, background), noise) in
                    values.iter_mut().zip(background).zip(&noise[offset..])
                {
                    *value = background + noise;
                }
            }
            for (vehicle, spectrum) in VEHICLES.iter().zip(&self.spectra) {
                let loudness = loudness(vehicle, channel, time_ns);
                if loudness > 0 {
                    for (value, loss) in values.iter_mut().zip(spectrum) {
                        *value += (loudness - loss).max(0);
                    }
                }
            }
            for value in &mut values {
                *value = (*value).clamp(0, CEILING);
                least = least.min(*value);
                greatest = greatest.max(*value);
            }
            append(&values, out);
        }
        (least.cast_unsigned(), greatest.cast_unsigned())
    }

    /// The noise of a time: live noise never repeats, a recording has its own.
    fn seed(&self, time_ns: u64) -> u64 {
        let source = match self.signal {
            Signal::Live => 0,
            Signal::Recorded => mix(1 + time_ns / (RECORDING_S * 1_000_000_000)),
        };
        mix3(source, time_ns, 0x5EED)
    }
}

/// Writes values little-endian.
fn append(values: &[i16], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.len() * 2, 0);
    for (bytes, value) in out[start..].chunks_exact_mut(2).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

/// Loudness of the nearest vehicle of a kind at a channel, in 1/1024 octaves.
fn loudness(vehicle: &Vehicle, channel: u32, time_ns: u64) -> i16 {
    // Channels a second are thousandths of a channel a millisecond.
    let travelled = vehicle.speed * (time_ns / 1_000_000) + vehicle.phase;
    let apart = (u64::from(channel) * 1_000 + PERIOD - travelled % PERIOD) % PERIOD;
    let distance = apart.min(PERIOD - apart);
    narrow(LOUDNESS.saturating_sub(distance * LOSS_PER_CHANNEL / 1_000))
}

fn spectrum_loss(vehicle: &Vehicle, frequency_mhz: u64) -> i16 {
    narrow((frequency_mhz.abs_diff(vehicle.centre_mhz) * vehicle.slope / 1_000).min(LOUDNESS))
}

fn background(frequency_mhz: u64, step_mhz: u64) -> i16 {
    let frequency = i64::try_from(frequency_mhz.min(4_000_000)).unwrap_or(0);
    let hum = (1..=3).any(|harmonic| frequency_mhz.abs_diff(harmonic * HUM_MHZ) * 2 < step_mhz);
    let above = BACKGROUND - frequency * FALL_PER_KHZ / 1_000_000 + if hum { HUM } else { 0 };
    ONE + i16::try_from(above).unwrap_or(0)
}

fn narrow(value: u64) -> i16 {
    i16::try_from(value).unwrap_or(i16::MAX)
}

/// Bell-shaped noise of about ±1 octave, long enough for a run from any offset.
fn noise() -> &'static [i16] {
    static NOISE: OnceLock<Vec<i16>> = OnceLock::new();
    NOISE.get_or_init(|| {
        (0_u64..)
            .take(NOISE_OFFSETS + RUN)
            .map(|index| sum_of_bytes(mix(index ^ 0x0153)) * 2 - 1_020)
            .collect()
    })
}

/// The sum of four of a word's bytes.
fn sum_of_bytes(word: u64) -> i16 {
    word.to_le_bytes()
        .iter()
        .take(4)
        .map(|byte| i16::from(*byte))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_790_000_000_150_000_000;

    fn field(signal: Signal, first: u32, count: u32) -> Field {
        Field::new(signal, first, count, 1_024, (0, 64), 7_804)
    }

    fn row(field: &Field, time: u64) -> Vec<u8> {
        let mut out = Vec::new();
        field.render(time, &mut out);
        out
    }

    #[test]
    fn a_row_is_a_pure_function() {
        assert_eq!(
            row(&field(Signal::Live, 1, 17), T),
            row(&field(Signal::Live, 1, 17), T)
        );
        assert_eq!(
            field(Signal::Live, 1, 17).key,
            field(Signal::Live, 1, 17).key
        );
        let base = row(&field(Signal::Live, 1, 17), T);
        assert_eq!(base.len(), 17 * 64 * 2);
        for other in [
            row(&field(Signal::Live, 1, 17), T + 150_000_000),
            row(&field(Signal::Recorded, 1, 17), T),
            row(&field(Signal::Live, 18, 17), T),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn this_row_has_these_bytes_on_every_platform() {
        let digest = xxhash_rust::xxh3::xxh3_64(&row(
            &field(Signal::Recorded, 1, 17),
            1_700_000_000_000_000_000,
        ));
        assert_eq!(format!("{digest:016x}"), "edeaf09d17b06e66");
    }

    #[test]
    fn channels_do_not_depend_on_the_block_they_are_in() {
        let whole = row(&field(Signal::Live, 1, 50), T);
        let part = row(&field(Signal::Live, 18, 17), T);
        assert_eq!(&whole[17 * 128..34 * 128], &part[..]);
    }

    #[test]
    fn values_are_amplitudes_in_the_captured_range() {
        let field = field(Signal::Live, 1, 120);
        let mut out = Vec::new();
        let (least, greatest) = field.render(T, &mut out);
        let value = |bits| half::f16::from_bits(bits).to_f32();
        assert!(value(least) > 0.0 && value(least) < 4.0, "{}", value(least));
        assert!(
            (100.0..=1_143.0).contains(&value(greatest)),
            "{}",
            value(greatest)
        );
        let values: Vec<f32> = out
            .chunks_exact(2)
            .map(|b| value(u16::from_le_bytes([b[0], b[1]])))
            .collect();
        assert_eq!(values.len(), field.values());
        assert!(
            values
                .iter()
                .all(|v| v.is_finite() && *v >= value(least) && *v <= value(greatest))
        );
    }

    #[test]
    fn a_vehicle_moves_along_the_fibre() {
        let loudest = |time_ns| {
            (1..=120)
                .max_by_key(|channel| loudness(&VEHICLES[1], *channel, time_ns))
                .unwrap()
        };
        let (here, later) = (loudest(T), loudest(T + 2_000_000_000));
        assert_eq!((later + 120 - here) % 120, 22);
    }
}

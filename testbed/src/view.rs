//! What a job shows: channels, their blocks of streams, frequency bins and the grid of its lines.

use std::sync::Arc;

use crate::grid::Grid;
use crate::rows::{Field, Signal};

/// The kinds of view that the server serves; heatmaps (3) are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    MultiChannel,
    SingleChannel,
    Waterfall,
}

impl Kind {
    /// The number that requests and responses carry.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::MultiChannel => 0,
            Self::SingleChannel => 1,
            Self::Waterfall => 2,
        }
    }
}

/// Where a job's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The fibre, now.
    Live,
    /// Recordings from `start` to before `end`, in epoch seconds.
    Historic { start: u64, end: u64 },
}

/// A validated request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// First and last channel.
    pub(crate) channels: (u32, u32),
    /// The channels that the response lists, which lenient validation lets differ from those shown.
    pub(crate) mapped: (u32, u32),
    pub(crate) nfft: u32,
    /// Lowest and highest frequency in Hz; none for a waterfall.
    pub(crate) frequencies: Option<(u32, u32)>,
    pub(crate) grid: Grid,
    /// What `lines_dt` is computed from, as given.
    pub(crate) duration: u32,
    pub(crate) height: u32,
    pub(crate) source: Source,
}

/// One stream of a view.
#[derive(Debug)]
pub(crate) struct Stream {
    /// First and last channel of the block.
    pub(crate) channels: (u32, u32),
    /// What its rows are computed from.
    pub(crate) field: Arc<Field>,
    /// The same, of other streams and as long: what `wrong-stream` sends. Two, so that not all users see the same wrong
    /// rows and take them for the truth.
    pub(crate) wrong: [Arc<Field>; 2],
}

/// A view: a request and what follows from it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) request: Request,
    /// Centre frequencies in Hz.
    pub(crate) frequencies: Vec<f64>,
    pub(crate) streams: Vec<Stream>,
}

/// What of the server's configuration a view depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fibre {
    pub(crate) prr: u32,
    pub(crate) decimation: u32,
    pub(crate) streams: u32,
}

impl View {
    /// Derives a view.
    pub(crate) fn new(request: Request, fibre: Fibre) -> Self {
        let (first_bin, bins) = bins(&request, fibre);
        let step = frequency_step(request.nfft, fibre);
        let frequencies = match request.frequencies {
            Some(_) => (first_bin..first_bin + bins)
                .map(|bin| f64::from(bin) * step)
                .collect(),
            None => Vec::new(),
        };
        let (low, high) = request.channels;
        let signal = match request.source {
            Source::Live => Signal::Live,
            Source::Historic { .. } => Signal::Recorded,
        };
        let field = |first: u32, count: u32| {
            let step_mhz = step_mhz(request.nfft, fibre);
            Arc::new(Field::new(
                signal,
                first,
                count,
                request.nfft,
                (first_bin, bins),
                step_mhz,
            ))
        };
        let wanted = if request.kind == Kind::SingleChannel {
            1
        } else {
            fibre.streams
        };
        let blocks = blocks(low, high, wanted);
        let streams = (0..blocks.len())
            .map(|index| {
                let (first, last) = blocks[index];
                let count = last - first + 1;
                let wrong = wrong_starts(&blocks, index).map(|first| field(first, count));
                Stream {
                    channels: (first, last),
                    field: field(first, count),
                    wrong,
                }
            })
            .collect();
        Self {
            request,
            frequencies,
            streams,
        }
    }

    /// `lines_dt` in seconds, as the API shows it.
    pub(crate) fn lines_dt(&self) -> f64 {
        f64::from(self.request.duration) / f64::from(self.request.height)
    }

    /// Bytes of the payload of the largest row; none, if the frequencies hold no bin.
    pub(crate) fn row_bytes(request: &Request, fibre: Fibre) -> u64 {
        let (_, bins) = bins(request, fibre);
        let channels = u64::from(request.channels.1 - request.channels.0) + 1;
        let streams = if request.kind == Kind::SingleChannel {
            1
        } else {
            u64::from(fibre.streams)
        };
        channels.div_ceil(streams) * u64::from(bins) * 2
    }
}

/// Consecutive blocks of ceil(n / streams) channels; where that would leave the last ones empty (4 channels, 3 streams),
/// they keep a channel each.
fn blocks(low: u32, high: u32, streams: u32) -> Vec<(u32, u32)> {
    let count = high - low + 1;
    let streams = streams.min(count);
    let size = count.div_ceil(streams);
    let start = |index: u32| (index * size).min(count - (streams - index));
    (0..streams)
        .map(|index| {
            let end = if index + 1 == streams {
                count
            } else {
                start(index + 1)
            };
            (low + start(index), low + end - 1)
        })
        .collect()
}

/// Where two wrong blocks of the length of a stream's begin: at other streams of the job, or, if it has too few, at the
/// channels that follow.
fn wrong_starts(blocks: &[(u32, u32)], index: usize) -> [u32; 2] {
    let (first, last) = blocks[index];
    let others = (1..blocks.len()).map(|ahead| blocks[(index + ahead) % blocks.len()].0);
    let beyond = blocks[blocks.len() - 1].1 + 1;
    let mut starts = others.chain([beyond, beyond + (last - first + 1)]);
    std::array::from_fn(|_| starts.next().unwrap_or(beyond))
}

/// The frequency step in Hz: decimation × PRR / (nfft + 1), which fits every captured response.
fn frequency_step(nfft: u32, fibre: Fibre) -> f64 {
    f64::from(fibre.decimation) * f64::from(fibre.prr) / (f64::from(nfft) + 1.0)
}

/// The same in whole millihertz, for rows, which are computed in integers.
fn step_mhz(nfft: u32, fibre: Fibre) -> u64 {
    u64::from(fibre.decimation) * u64::from(fibre.prr) * 1_000 / (u64::from(nfft) + 1)
}

/// First bin and number of bins: as many steps as fit, or the one whose centre lies in a range that is shorter than a
/// step. None, if the range holds no centre.
fn bins(request: &Request, fibre: Fibre) -> (u32, u32) {
    let Some((low, high)) = request.frequencies else {
        return (0, 1);
    };
    let divisions = u64::from(request.nfft) + 1;
    let per_step = u64::from(fibre.decimation) * u64::from(fibre.prr);
    let first = (u64::from(low) * divisions).div_ceil(per_step);
    let end = u64::from(high) * divisions / per_step;
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let least = u64::from(first * per_step <= u64::from(high) * divisions);
    (narrow(first), narrow(end.saturating_sub(first).max(least)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Fibre = Fibre {
        prr: 2_000,
        decimation: 4,
        streams: 3,
    };
    const RECORDED: Fibre = Fibre {
        prr: 2_000,
        decimation: 1,
        streams: 3,
    };

    fn request(channels: (u32, u32), nfft: u32) -> Request {
        Request {
            kind: Kind::MultiChannel,
            channels,
            mapped: channels,
            nfft,
            frequencies: Some((0, 500)),
            grid: Grid::new(30, 200).unwrap(),
            duration: 30,
            height: 200,
            source: Source::Live,
        }
    }

    #[test]
    fn captured_groupings() {
        let sizes = |n: u32| {
            blocks(1, n, 3)
                .iter()
                .map(|(first, last)| last - first + 1)
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(2), [1, 1]);
        assert_eq!(sizes(4), [2, 1, 1]);
        assert_eq!(sizes(7), [3, 3, 1]);
        assert_eq!(sizes(8), [3, 3, 2]);
        assert_eq!(sizes(50), [17, 17, 16]);
        assert_eq!(blocks(11, 109, 3), [(11, 43), (44, 76), (77, 109)]);
    }

    #[test]
    fn blocks_cover_every_channel_once() {
        for n in 1..200 {
            let blocks = blocks(5, 4 + n, 3);
            assert_eq!((blocks[0].0, blocks[blocks.len() - 1].1), (5, 4 + n));
            assert!(
                blocks
                    .windows(2)
                    .all(|pair| pair[0].1 + 1 == pair[1].0 && pair[0].0 <= pair[0].1)
            );
        }
    }

    #[test]
    fn wrong_blocks_begin_elsewhere() {
        assert_eq!(wrong_starts(&[(1, 17), (18, 34), (35, 50)], 1), [35, 1]);
        assert_eq!(wrong_starts(&[(1, 1), (2, 2)], 0), [2, 3]);
        assert_eq!(wrong_starts(&[(7, 7)], 0), [8, 9]);
    }

    #[test]
    fn captured_bins() {
        for (nfft, fibre, expect) in [
            (256, LIVE, 16),
            (512, LIVE, 32),
            (1_024, LIVE, 64),
            (1_024, RECORDED, 256),
        ] {
            assert_eq!(bins(&request((1, 50), nfft), fibre), (0, expect), "{nfft}");
        }
        let view = View::new(request((1, 50), 1_024), RECORDED);
        assert_eq!(view.frequencies.len(), 256);
        assert!((view.frequencies[1] - 1.951_22).abs() < 1e-5);
        assert!(view.frequencies[255] < 500.0);
        // The captured sample: 17 channels of 256 bins.
        assert_eq!(
            View::row_bytes(&request((1, 50), 1_024), RECORDED),
            4_352 * 2
        );
    }

    #[test]
    fn bins_start_at_the_lowest_frequency() {
        let mut request = request((1, 50), 1_024);
        request.frequencies = Some((100, 120));
        let view = View::new(request, LIVE);
        assert_eq!(view.frequencies.len(), 2);
        assert!(view.frequencies[0] >= 100.0 && view.frequencies[1] <= 120.0);
    }

    #[test]
    fn a_range_without_a_bin_has_none_and_a_short_one_its_only_bin() {
        let bins_of = |low, high| {
            let mut request = request((1, 50), 1_024);
            request.frequencies = Some((low, high));
            bins(&request, LIVE)
        };
        // Live bins are 7.805 Hz apart: 13 of them are 101.46 Hz.
        assert_eq!(bins_of(100, 101).1, 0);
        assert_eq!(bins_of(1, 2).1, 0);
        assert_eq!(bins_of(100, 102), (13, 1));
        assert_eq!(bins_of(0, 1), (0, 1));
        for low in 0..200 {
            for high in low + 1..low + 40 {
                let (first, count) = bins_of(low, high);
                let step = frequency_step(1_024, LIVE);
                let last = f64::from(first + count.max(1) - 1) * step;
                assert!(count == 0 || f64::from(first) * step >= f64::from(low));
                assert_eq!(count > 0, last <= f64::from(high), "{low} to {high}");
            }
        }
    }
}

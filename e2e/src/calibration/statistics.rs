//! Whether numbers are as random as they should be, and whereabouts they lie.

/// The value that this share of sorted numbers does not exceed.
///
/// # Panics
///
/// If there are none.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "there is something to measure");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is a place in it"
    )]
    let rank = (share * count(sorted.len())).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// How probable it is that numbers drawn from a distribution stray as far from it as these do: the test of Kolmogorov and
/// Smirnov, with Stephens' approximation (*EDF Statistics for Goodness of Fit*, 1974), good from five numbers on.
#[must_use]
pub fn goodness_of_fit(numbers: &[f64], distribution: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = count(sorted.len());
    let mut distance = 0.0_f64;
    for (place, number) in sorted.iter().enumerate() {
        let expected = distribution(*number);
        let (below, upto) = (count(place) / n, count(place + 1) / n);
        distance = distance.max(expected - below).max(upto - expected);
    }
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    };
    // The series alternates around one half for small distances, where the answer is one.
    if lambda < 0.2 {
        return 1.0;
    }
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// The exponential distribution of this rate.
pub fn exponential(rate: f64) -> impl Fn(f64) -> f64 {
    move |x| 1.0 - (-rate * x).exp()
}

/// How much each number depends on the one before, from −1 to 1, in standard deviations of what independent numbers show.
#[must_use]
pub fn serial_correlation(numbers: &[f64]) -> f64 {
    let n = count(numbers.len());
    let mean = numbers.iter().sum::<f64>() / n;
    let variance = numbers.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
    let covariance: f64 = numbers
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    covariance / variance * n.sqrt()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of lists are far below 2^53"
)]
fn count(length: usize) -> f64 {
    length as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_their_tabled_probabilities() {
        // One number at 0.95 of the uniform distribution is as far as 5 % are; 1.358 is the tabled limit for many.
        let even: Vec<f64> = (0..1_000)
            .map(|place| (f64::from(place) + 0.5) / 1_000.0)
            .collect();
        assert!(goodness_of_fit(&even, |x| x) > 0.999);
        let shift = 1.358 / (1_000_f64.sqrt() + 0.12 + 0.11 / 1_000_f64.sqrt()) - 0.000_5;
        let shifted: Vec<f64> = even.iter().map(|x| x + shift).collect();
        let p = goodness_of_fit(&shifted, |x| x.clamp(0.0, 1.0));
        assert!((p - 0.05).abs() < 0.001, "{p}");
    }

    #[test]
    fn quantiles_are_numbers_that_were_there() {
        let numbers = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&numbers, 0.5), 2.0);
        assert_eq!(quantile(&numbers, 0.51), 3.0);
        assert_eq!(quantile(&numbers, 1.0), 4.0);
    }
}

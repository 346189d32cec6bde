//! What each effect does to connections, as a client and a server see it.
use crate::kit::{LONG, Proxied, SOON, echo, free_port, opening, passes_again, round, takes};
use std::io::ErrorKind;
use std::time::Duration;
use testmesh_agent::fault::proxy::{Effect, Ending, Order, ProxyError, ProxyHandle, ProxyProgram};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

fn cut(ending: Ending) -> Effect {
    Effect {
        cut: Some(ending),
        ..Effect::default()
    }
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_is_counted() {
    let proxied = Proxied::here().await;
    let mut stream = proxied.client().await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    assert!(round(&mut stream, &sent).await.unwrap() == sent);
    // One side's end reaches the other, and comes back from it.
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    let counts = proxied.revert().await;
    assert_eq!(
        (
            counts.connections,
            counts.bytes_up,
            counts.bytes_down,
            counts.corrupted
        ),
        (1, 3_000_000, 3_000_000, 0)
    );
}

#[tokio::test]
async fn cut_ends_open_connections_and_refuses_new_ones() {
    let proxied = Proxied::here().await;
    for (ending, kind) in [
        (Ending::Close, None),
        (Ending::Reset, Some(ErrorKind::ConnectionReset)),
    ] {
        let mut open = proxied.client().await;
        takes(&mut open).await;
        proxied.inject(cut(ending)).await;
        let read = timeout(SOON, open.read(&mut [0; 8])).await.unwrap();
        match kind {
            None => assert_eq!(read.unwrap(), 0, "an orderly end"),
            Some(kind) => assert_eq!(read.unwrap_err().kind(), kind),
        }
        let refused = TcpStream::connect(proxied.listen).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // The port is not anybody's meanwhile.
        let taken = TcpListener::bind(proxied.listen).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        proxied.revert().await;
        takes(&mut proxied.client().await).await;
    }
    assert_eq!(proxied.revert().await.cut, 2);
}

#[tokio::test]
async fn nothing_gets_through_a_black_hole_until_it_is_over() {
    let proxied = Proxied::here().await;
    let mut before = proxied.client().await;
    takes(&mut before).await;
    let effect = Effect {
        blackhole: true,
        ..Effect::default()
    };
    proxied.inject(effect).await;
    let mut during = timeout(SOON, proxied.client()).await.expect("it is taken");
    for stream in [&mut before, &mut during] {
        stream.write_all(b"anybody?").await.unwrap();
        let silent = timeout(Duration::from_millis(300), stream.read(&mut [0; 8])).await;
        assert!(silent.is_err(), "no answer and no end: {silent:?}");
    }
    proxied.revert().await;
    for stream in [&mut before, &mut during] {
        let mut back = [0; 8];
        let late = timeout(SOON, stream.read_exact(&mut back)).await.unwrap();
        late.unwrap();
        assert_eq!(&back, b"anybody?");
    }
}

#[tokio::test]
async fn delay_is_each_way_and_keeps_the_order() {
    let proxied = Proxied::here().await;
    let mut stream = proxied.client().await;
    takes(&mut stream).await;
    let effect = Effect {
        delay: Duration::from_millis(60),
        jitter: Duration::from_millis(40),
        ..Effect::default()
    };
    proxied.inject(effect).await;
    let mut total = Duration::ZERO;
    for _ in 0..10 {
        let took = takes(&mut stream).await;
        // Twice 60 ms to 100 ms, and what this machine adds.
        assert!(
            (Duration::from_millis(120)..Duration::from_millis(400)).contains(&took),
            "{took:?}"
        );
        total += took;
    }
    let mean = total / 10;
    assert!(
        (Duration::from_millis(135)..Duration::from_millis(250)).contains(&mean),
        "{mean:?}"
    );
    // Many small pieces, each with a delay of its own.
    let (mut read, mut write) = stream.split();
    let sending = async {
        for number in 0..200_u8 {
            write.write_all(&[number]).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let mut back = vec![0; 200];
    let (_, read) = tokio::join!(sending, timeout(SOON, read.read_exact(&mut back)));
    read.unwrap().unwrap();
    assert!(back.iter().copied().eq(0..200_u8), "{back:?}");
    proxied.revert().await;
    sleep(Duration::from_millis(110)).await;
    let took = takes(&mut stream).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn bandwidth_is_shared_by_all_connections_and_kept_within_a_tenth() {
    let proxied = Proxied::here().await;
    let effect = Effect {
        bandwidth: Some(1_000_000),
        ..Effect::default()
    };
    proxied.inject(effect).await;
    let began = Instant::now();
    let mut streams = [proxied.client().await, proxied.client().await];
    let sent = vec![9; 750_000];
    let [one, other] = &mut streams;
    let (one, other) = tokio::join!(round(one, &sent), round(other, &sent));
    assert_eq!(one.unwrap().len() + other.unwrap().len(), 1_500_000);
    // Both ways at once: what went up comes down while the rest goes up.
    let took = began.elapsed().as_secs_f64();
    assert!(
        (1.35..1.75).contains(&took),
        "1.5 MB at 1 MB/s took {took} s"
    );
    proxied.revert().await;
    let began = Instant::now();
    round(&mut streams[0], &sent).await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn corrupt_turns_bits_over_and_counts_them() {
    let proxied = Proxied::here().await;
    let effect = Effect {
        corrupt: 0.1,
        ..Effect::default()
    };
    proxied.inject(effect).await;
    let mut stream = proxied.client().await;
    let back = round(&mut stream, &vec![0; 2_000 * 1024]).await.unwrap();
    let turned: u64 = back.iter().map(|byte| u64::from(byte.count_ones())).sum();
    // Twice 200 on average, with a deviation of 19.
    assert!((300..500).contains(&turned), "{turned}");
    let counts = proxied.revert().await;
    // Bits that were turned over on both ways are right again.
    assert!(
        counts.corrupted >= turned && counts.corrupted < turned + 20,
        "{counts:?}"
    );
    assert_eq!(
        round(&mut stream, &[0; 100_000]).await.unwrap(),
        vec![0; 100_000]
    );
}

#[tokio::test]
async fn a_fault_ends_with_its_lease_unless_it_is_renewed() {
    let proxied = Proxied::here().await;
    let began = Instant::now();
    proxied.inject_for(cut(Ending::Close), 400).await;
    sleep(Duration::from_millis(250)).await;
    proxied.renew(400).await.unwrap();
    sleep(Duration::from_millis(250)).await;
    let refused = TcpStream::connect(proxied.listen).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    passes_again(proxied.listen).await;
    assert!(
        began.elapsed() >= Duration::from_millis(640),
        "{:?}",
        began.elapsed()
    );
    let late = proxied.renew(400).await;
    assert!(matches!(late, Err(ProxyError::Refused(why)) if why.contains("lease had ended")));
}

#[tokio::test]
async fn faults_that_overlap_add_up_and_end_one_by_one() {
    let proxied = Proxied::here().await;
    let order = |fault: &str, ms| Order::Inject {
        fault: fault.to_owned(),
        effect: Effect {
            delay: Duration::from_millis(ms),
            ..Effect::default()
        },
        lease_ms: LONG,
    };
    proxied.handle.order(order("a", 30)).await.unwrap();
    proxied.handle.order(order("b", 50)).await.unwrap();
    let mut stream = proxied.client().await;
    assert!(takes(&mut stream).await >= Duration::from_millis(160));
    let over = Order::Revert {
        fault: "b".to_owned(),
    };
    proxied.handle.order(over).await.unwrap();
    let took = takes(&mut stream).await;
    assert!(
        (Duration::from_millis(60)..Duration::from_millis(150)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_and_a_server_that_is_away_is_a_reset() {
    let tasks = Tasks::new(Shutdown::new());
    let to = echo(&tasks).await.to_string();
    let proxied = Proxied::here().await;
    let program = ProxyProgram::Here;
    let twice = ProxyHandle::start(&program, opening(proxied.listen, to), &tasks).await;
    let error = twice.unwrap_err().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1:"), "{error}");
    let nobody = free_port().await;
    let listen = free_port().await;
    let before = ProxyHandle::start(&program, opening(listen, nobody.to_string()), &tasks).await;
    let handle = before.unwrap();
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let read = timeout(SOON, stream.read(&mut [0; 8])).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let fault = "f".to_owned();
    let counts = handle.order(Order::Revert { fault }).await.unwrap();
    assert_eq!((counts.connections, counts.unreachable), (1, 1));
}

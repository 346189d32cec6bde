// The k6 side of `testmesh-bench stream` and `memory`: receives every row and does nothing with it.
import { Client, Stream } from 'k6/net/grpc';

const client = new Client();
client.load([__ENV.PROTO_DIR], 'rows.proto');

export const options = {
  scenarios: {
    rows: { executor: 'per-vu-iterations', vus: Number(__ENV.STREAMS), iterations: 1, maxDuration: '30m' },
  },
};

export default function () {
  client.connect(__ENV.ADDRESS, { plaintext: true });
  const stream = new Stream(client, 'bench.Rows/Stream');
  let received = 0;
  stream.on('data', () => {
    received += 1;
  });
  stream.on('end', () => {
    client.close();
    if (received !== Number(__ENV.COUNT)) {
      throw new Error(`received ${received} of ${__ENV.COUNT} rows`);
    }
  });
  stream.write({
    count: __ENV.COUNT,
    size: Number(__ENV.SIZE),
    interval_ms: Number(__ENV.INTERVAL_MS || 0),
  });
  stream.end();
}

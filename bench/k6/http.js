// The k6 side of `testmesh-bench http`: one check and one value of the body for each request.
import http from 'k6/http';
import { check } from 'k6';

export const options = {
  scenarios: {
    requests: {
      executor: 'shared-iterations',
      vus: Number(__ENV.USERS),
      iterations: Number(__ENV.ITERATIONS),
      maxDuration: '30m',
    },
  },
  thresholds: { checks: ['rate==1'] },
};

const REQUESTS = Number(__ENV.REQUESTS);

export default function () {
  let job;
  for (let request = 0; request < REQUESTS; request += 1) {
    const answer = http.get(`http://${__ENV.ADDRESS}/jobs/1`);
    check(answer, { 'status is 200': (got) => got.status === 200 });
    job = answer.json('job_id');
  }
  if (!job) {
    throw new Error('there is no job in the answer');
  }
}

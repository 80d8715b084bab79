// Asks every method of a numroute service and prints what it was told as one JSON object.
//
// Usage: node client.js PROTO TARGET REQUEST, REQUEST being JSON: {numbers, ca?, token?}.
"use strict";

const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [proto, target, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const definition = loader.loadSync(proto, {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
});
const { NumberRouting } = grpc.loadPackageDefinition(definition).numroute.v1;

const credentials = asked.ca
  ? grpc.credentials.createSsl(fs.readFileSync(asked.ca))
  : grpc.credentials.createInsecure();
const client = new NumberRouting(target, credentials);
const metadata = new grpc.Metadata();
if (asked.token) metadata.set("authorization", `Bearer ${asked.token}`);
const deadline = () => ({ deadline: Date.now() + 30_000 });

const unary = (method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, metadata, deadline(), (error, response) =>
      error ? reject(error) : resolve(response),
    ),
  );

const bulk = { numbers: asked.numbers, with_range_holder: true, with_ported_at: true };

const stream = () =>
  new Promise((resolve, reject) => {
    const call = client.StreamLookup(metadata, deadline());
    const answers = [];
    call.on("data", (answer) => answers.push(answer));
    call.on("end", () => resolve(answers));
    call.on("error", reject);
    for (let i = 0; i < 20; i++) call.write({ ...bulk, numbers: asked.numbers.slice(i) });
    call.end();
  });

const watch = () =>
  new Promise((resolve, reject) => {
    const call = client.WatchSnapshots({}, metadata, deadline());
    call.on("data", (news) => {
      resolve(news);
      call.cancel();
    });
    call.on("error", reject);
  });

async function main() {
  const told = {
    Lookup: await unary("Lookup", { numbers: asked.numbers.map((number) => `+${number}`) }),
    BulkLookup: await unary("BulkLookup", bulk),
    StreamLookup: await stream(),
    Explain: await unary("Explain", { number: `+${asked.numbers[0]}` }),
    GetSnapshot: await unary("GetSnapshot", {}),
    WatchSnapshots: await watch(),
    ListOperators: await unary("ListOperators", {}),
  };
  console.log(JSON.stringify(told));
}

main().then(
  () => client.close(),
  (error) => {
    console.error(`${grpc.status[error.code] ?? ""} ${error.details ?? error}`);
    process.exit(1);
  },
);

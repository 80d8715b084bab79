// Looks numbers up through the gatherer of docs/recipes and without it.
//
// Usage: node run_gatherer.js PROTO TARGET TASKS LOOKUPS SINGLE, whole numbers on standard input as JSON.
// Prints {answers: [[status, operator, snapshot]], refused, without, with}: how what is no number was
// refused, and the rates in numbers a second.
"use strict";

const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const { Gatherer } = require("./gatherer.js");

const [proto, target, ...counts] = process.argv.slice(2);
const [tasks, lookups, singles] = counts.map(Number);
const numbers = JSON.parse(fs.readFileSync(0, "utf8"));
const gatherer = new Gatherer(target, { proto, credentials: grpc.credentials.createInsecure() });

const single = (number) => gatherer.call({ numbers: [number] }, Date.now() + 30_000);

async function rate(ask, workers, count) {
  let next = 0;
  const task = async () => {
    while (next < count) await ask(numbers[next++ % numbers.length]);
  };
  const start = process.hrtime.bigint();
  await Promise.all(Array.from({ length: workers }, task));
  return (count * 1e9) / Number(process.hrtime.bigint() - start);
}

async function main() {
  const texts = ["", "79161234567 ", "+7 (916) 123-45-67", null, undefined, 1.5, 0, -1, 1e15, {}];
  // Asked together with the others, they must not fail their call.
  const refused = texts.map((text) => gatherer.lookup(text).catch((error) => error.name));
  const routes = await Promise.all(numbers.map((number) => gatherer.lookup(number, 30_000)));
  const answers = routes.map(({ status, operator, snapshot }) => [
    status,
    operator?.code ?? "",
    snapshot,
  ]);
  const ask = (number) => gatherer.lookup(number, 30_000);
  await rate(single, 80, singles / 10);
  await rate(ask, tasks, lookups);
  const without = await rate(single, 80, singles);
  const gathered = await rate(ask, tasks, lookups);
  console.log(JSON.stringify({ answers, refused: await Promise.all(refused), without, with: gathered }));
  gatherer.close();
}

main();

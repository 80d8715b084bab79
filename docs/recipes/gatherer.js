"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { setTimeout: pause } = require("node:timers/promises");

const BATCH_MAX = 4096; // numbers in one call
const CALLS_MAX = 2; // calls under way on one connection
const ATTEMPT_MS = 500; // of one call
const ATTEMPTS_MAX = 7; // calls for one batch, each over another connection
const FIRST_PAUSE_MS = 20; // before the second attempt; doubles
// Another worker or replica may answer these: a lookup changes nothing.
const RETRIED = [grpc.status.UNAVAILABLE, grpc.status.CANCELLED, grpc.status.DEADLINE_EXCEEDED];

class Gatherer {
  /** Open connections: several, because the service gives each to one of its workers. */
  constructor(target, { proto, connections = 4, credentials, metadata } = {}) {
    if (!proto || !credentials) throw new TypeError("proto and credentials are needed");
    const definition = loader.loadSync(proto, {
      keepCase: true,
      longs: Number, // E.164 numbers have at most 15 digits
      enums: String,
      defaults: true,
    });
    const { NumberRouting } = grpc.loadPackageDefinition(definition).numroute.v1;
    // Without its own pool every client would share one connection.
    const options = { "grpc.use_local_subchannel_pool": 1 };
    this.metadata = metadata ?? new grpc.Metadata();
    this.clients = Array.from(
      { length: connections },
      () => new NumberRouting(target, credentials, options),
    );
    this.turn = 0;
    this.calls = 0;
    this.questions = [];
    this.scheduled = false;
  }

  /**
   * Answer for one whole E.164 number: {status, operator, mcc, mnc, …, snapshot, stale}.
   * A question that has waited for `timeout` milliseconds is not sent any more.
   */
  lookup(number, timeout = 2000) {
    // Refused here: among others it would fail their call, or be taken for another number.
    if (!Number.isInteger(number) || number < 1 || number >= 1e15)
      return Promise.reject(new TypeError("not a whole E.164 number like 79161234567"));
    return new Promise((resolve, reject) => {
      this.questions.push({ number, deadline: Date.now() + timeout, resolve, reject });
      this.schedule();
    });
  }

  close() {
    this.clients.forEach((client) => client.close());
  }

  /** Send when the tasks that run now have asked. */
  schedule() {
    if (this.scheduled || this.calls >= this.clients.length * CALLS_MAX) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      const now = Date.now();
      const batch = this.questions.splice(0, BATCH_MAX).filter((question) => {
        const waits = question.deadline > now;
        if (!waits) question.reject(new Error("deadline exceeded before the number was sent"));
        return waits;
      });
      if (batch.length) this.send(batch);
      if (this.questions.length) this.schedule();
    });
  }

  async send(batch) {
    this.calls++;
    try {
      const deadline = Math.max(...batch.map((question) => question.deadline));
      const response = await this.call({ numbers: batch.map((q) => q.number) }, deadline);
      const { id: snapshot, stale } = response.snapshot;
      const routes = response.routes.map((route) => ({ ...route, snapshot, stale }));
      batch.forEach((question, i) => question.resolve(routes[response.route_indexes[i]]));
    } catch (error) {
      batch.forEach((question) => question.reject(error));
    } finally {
      this.calls--;
      if (this.questions.length) this.schedule();
    }
  }

  async call(request, deadline) {
    for (let attempt = 1, wait = FIRST_PAUSE_MS; ; attempt++, wait *= 2) {
      try {
        return await new Promise((resolve, reject) => {
          const client = this.clients[this.turn++ % this.clients.length];
          const options = { deadline: Math.min(Date.now() + ATTEMPT_MS, deadline) };
          client.BulkLookup(request, this.metadata, options, (error, response) =>
            error ? reject(error) : resolve(response),
          );
        });
      } catch (error) {
        const last = attempt === ATTEMPTS_MAX || Date.now() + wait >= deadline;
        if (last || !RETRIED.includes(error.code)) throw error;
        await pause(wait * (0.5 + Math.random()));
      }
    }
  }
}

module.exports = { Gatherer };

/**
 * The life of a tuning job: validate, queue, run, pause, go on, publish, with every state durable in a database before it is acknowledged,
 * and what a run needs to go on in checkpoints beside it.
 *
 * <p>May use {@code tuning}, {@code generation}, {@code store} and below, and plain JDBC. Must not know HTTP or Quarkus.
 */
package io.inlay.jobs;

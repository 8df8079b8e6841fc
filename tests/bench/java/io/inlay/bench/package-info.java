/**
 * Benchmarks: one main a comparison, run by {@code ./inlay bench NAME}. Each prints a table, and last one {@code BAR} line a figure. Peers
 * are in tests/bench/peers.
 */
package io.inlay.bench;

/**
 * Who may ask, how much, and what is written down of it: tenants, API keys, roles, limits on requests and on
 * answers, the audit log.
 *
 * <p>Keys are known by their HMAC-SHA-256 only. May use the root, {@code store}'s durable files and database. Must not know HTTP,
 * Quarkus, or what tenants do with their access.
 */
package io.inlay.access;

/**
 * A load generator with open arrivals, and what has to be so at its end. It knows the server by its address alone; deltas that it can tell
 * apart by their answers are made here, against the base model's own weights.
 */
package io.inlay.load;

/**
 * The demonstration: a task, and a program that starts the packaged server, measures the base model on the task, fine-tunes it and
 * measures again, through the REST interface alone; and the pre-training of the embedded model that it all stands on.
 *
 * <p>It talks to the server as any client would, over HTTP, and imports nothing of it; only the pre-training uses {@code tuning} and
 * {@code model}.
 */
package io.inlay.server.demo;

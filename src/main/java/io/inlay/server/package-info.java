/**
 * Composition root: configuration ({@code @ConfigMapping} interfaces), producers, startup and shutdown, health, and the command line's
 * main. The only room where everything meets; holds no logic of its own.
 */
package io.inlay.server;

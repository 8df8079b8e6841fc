package io.inlay.api;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A resource's method that changes something: each call of it, allowed or not, is a line of the audit log under this name. */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@interface Changes {

    /** What, and how: {@code file.upload}. */
    String value();
}

package io.inlay.api;

import io.inlay.access.Role;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** The roles whose keys may call a resource's method. Nobody may call one without it: {@link AccessFilter} denies what is not declared. */
@Target(ElementType.METHOD)
@Retention(RetentionPolicy.RUNTIME)
@interface Allowed {

    Role[] value();
}

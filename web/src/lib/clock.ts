import { createSubscriber } from "svelte/reactivity";

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1000);
  return () => clearInterval(timer);
});

/** Milliseconds since 1970. What reads it in a template or `$derived` is renewed each second. */
export function now(): number {
  subscribe();
  return Date.now();
}

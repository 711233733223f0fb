
declare var console: {
  trace(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
};

declare class TextEncoder {
  encode(text?: string): Uint8Array;
}

declare class TextDecoder {
  /** UTF-8 only; what is no UTF-8 becomes U+FFFD. */
  decode(bytes?: Uint8Array): string;
}

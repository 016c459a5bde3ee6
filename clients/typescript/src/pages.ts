/** Lists that go through all pages. */

import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { call, type CallOptions } from "./calls.js";
import type { Connection } from "./connection.js";

/** Names of the fields of a response that are lists of messages. */
type ListField<O extends DescMessage> = {
  [K in keyof MessageShape<O>]: MessageShape<O>[K] extends readonly object[] ? K : never;
}[keyof MessageShape<O>];

/** The type of the entries of a list. */
type EntryOf<T> = T extends readonly (infer E)[] ? E : never;

/** Entries of a list, read page by page as they are asked for. Iterating again reads the list again. */
export interface Items<Item, Page> extends AsyncIterable<Item> {
  /** Iterate over the responses instead of the entries, to keep their other fields or to go on later. */
  pages(): AsyncIterable<Page>;
  /** Read all pages, or only until there are `most` entries. */
  all(most?: number): Promise<Item[]>;
}

/** Return the entries of `field` on all pages that the method returns for this request. */
export function items<I extends DescMessage, O extends DescMessage, K extends ListField<O>>(
  connection: Connection,
  method: DescMethodUnary<I, O>,
  field: K,
  request: MessageInitShape<I>,
  options: CallOptions = {},
): Items<EntryOf<MessageShape<O>[K]>, MessageShape<O>> {
  async function* pages(): AsyncGenerator<MessageShape<O>> {
    let { pageToken } = request as { pageToken?: string };
    do {
      const page = await call(connection, method, { ...request, pageToken }, options);
      yield page;
      pageToken = (page as unknown as { nextPageToken: string }).nextPageToken;
    } while (pageToken);
  }
  async function* entries(): AsyncGenerator<EntryOf<MessageShape<O>[K]>> {
    for await (const page of pages()) yield* page[field] as EntryOf<MessageShape<O>[K]>[];
  }
  return {
    pages,
    [Symbol.asyncIterator]: entries,
    async all(most = Infinity) {
      const found = [];
      if (most > 0) {
        for await (const entry of entries()) {
          if (found.push(entry) >= most) break;
        }
      }
      return found;
    },
  };
}

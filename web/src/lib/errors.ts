import { AvatarCreatorError, Code, type ErrorReasonName, errorOf } from "avatar-creator";
import { duration } from "./format.js";
import { language, words } from "./language.svelte.js";

/** An error in words for the user. */
export interface Explained {
  title: string;
  /** What to do, or what exactly is wrong. May be empty. */
  detail: string;
  /** Whether the same call can succeed later. */
  retryable: boolean;
  /** Whether the service could not be reached. */
  offline: boolean;
}

const t = words({
  en: {
    unknown: "Something went wrong",
    offline: "The service cannot be reached",
    offlineDetail: "Check your connection, then try again.",
    late: "The service took too long to answer",
    busy: "The service is busy",
    after: (seconds: number) => `Try again in ${duration(seconds)}.`,
    missing: "This does not exist",
    missingDetail: "It may have been deleted, or it belongs to someone else.",
    stale: "A newer version of this page is there",
    staleDetail: "Reload the page to go on.",
  },
  id: {
    unknown: "Terjadi kesalahan",
    offline: "Layanan tidak dapat dijangkau",
    offlineDetail: "Periksa koneksi Anda, lalu coba lagi.",
    late: "Layanan terlalu lama menjawab",
    busy: "Layanan sedang sibuk",
    after: (seconds: number) => `Coba lagi dalam ${duration(seconds)}.`,
    missing: "Ini tidak ada",
    missingDetail: "Mungkin sudah dihapus, atau milik orang lain.",
    stale: "Ada versi baru halaman ini",
    staleDetail: "Muat ulang halaman untuk melanjutkan.",
  },
});

/** What each reason means to a user. The service's own sentence, which is English, stands below where it says more. */
const reasons: Record<"en" | "id", Partial<Record<ErrorReasonName, string>>> = {
  en: {
    INVALID_FIELD: "The service did not accept this",
    IMAGE_TOO_LARGE: "The picture is larger than 10 MB",
    IMAGE_TOO_MANY_PIXELS: "The picture has too many pixels",
    IMAGE_UNSUPPORTED: "This is not a JPEG, PNG or WebP picture",
    IMAGE_CORRUPT: "The picture is damaged or incomplete",
    IMAGE_ANIMATED: "The picture is animated; a still one is needed",
    IMAGE_TYPE_MISMATCH: "The file is not of the type that it claims",
    IMAGE_TOO_EXPENSIVE: "The picture takes too much memory to read",
    APP_MISMATCH: "Your token belongs to another app",
    RESOURCE_NOT_FOUND: "This does not exist",
    GENERATION_FINISHED: "It has already ended",
    GENERATION_NOT_RETRYABLE: "It cannot be started again",
    GENERATION_LIMIT: "You have reached your limit",
    DATABASE_UNAVAILABLE: "The service has no connection to its database",
    STORAGE_UNAVAILABLE: "The service cannot store files now",
    SERVER_DRAINING: "The service is restarting",
    REVISION_MISMATCH: "Someone has changed this in the meantime",
    INTERNAL: "The service has made a mistake",
    PROVIDER_UNAVAILABLE: "The image provider could not be reached",
    PROVIDER_REJECTED: "The image provider refused the request",
    WORKER_LOST: "The worker was lost while it drew",
    ROLE_REQUIRED: "This is for operators only",
    PROMPT_REFUSED: "These words are not allowed",
    MODERATION_UNAVAILABLE: "The check of words and pictures does not answer",
    OPTION_NOT_SUPPORTED: "The model does not support one of the options",
    NOT_REPRODUCIBLE: "This picture can no longer be reproduced",
    PROVIDER_CREDENTIALS: "The image provider refused the service's key",
    PROVIDER_CREDIT: "The service has no credit at the image provider",
    PROVIDER_CONTENT_REFUSED: "The image provider does not allow this content",
    PROVIDER_NSFW: "The picture was withheld as not safe for work",
    PROVIDER_OVERLOADED: "The image provider has too much to do",
    PROVIDER_TIMEOUT: "The image provider took too long",
    PROVIDER_BAD_ANSWER: "The image provider sent no usable picture",
    PROVIDER_GONE: "The image provider no longer has the model",
    REFERENCE_GONE: "The reference picture was deleted",
    TRANSFER_LIMIT: "Too many uploads at the same time",
    TRANSFER_TOO_SLOW: "The connection is too slow for this file",
    OVERLOADED: "The service is busy",
    DATABASE_TOO_SLOW: "The search took too long",
    DATABASE_LIMIT: "Too many searches at the same time",
    CALL_LIMIT: "Too many requests at the same time",
  },
  id: {
    INVALID_FIELD: "Layanan tidak menerima isian ini",
    IMAGE_TOO_LARGE: "Gambar lebih besar dari 10 MB",
    IMAGE_TOO_MANY_PIXELS: "Gambar memiliki terlalu banyak piksel",
    IMAGE_UNSUPPORTED: "Ini bukan gambar JPEG, PNG, atau WebP",
    IMAGE_CORRUPT: "Gambar rusak atau tidak lengkap",
    IMAGE_ANIMATED: "Gambar ini animasi; diperlukan gambar diam",
    IMAGE_TYPE_MISMATCH: "Jenis berkas tidak sesuai dengan isinya",
    IMAGE_TOO_EXPENSIVE: "Gambar memerlukan terlalu banyak memori",
    APP_MISMATCH: "Token Anda milik aplikasi lain",
    RESOURCE_NOT_FOUND: "Ini tidak ada",
    GENERATION_FINISHED: "Pembuatan sudah berakhir",
    GENERATION_NOT_RETRYABLE: "Pembuatan ini tidak dapat diulang",
    GENERATION_LIMIT: "Anda sudah mencapai batas",
    DATABASE_UNAVAILABLE: "Layanan tidak terhubung ke basis data",
    STORAGE_UNAVAILABLE: "Layanan tidak dapat menyimpan berkas sekarang",
    SERVER_DRAINING: "Layanan sedang dimulai ulang",
    REVISION_MISMATCH: "Orang lain sudah mengubah ini",
    INTERNAL: "Layanan melakukan kesalahan",
    PROVIDER_UNAVAILABLE: "Penyedia gambar tidak dapat dijangkau",
    PROVIDER_REJECTED: "Penyedia gambar menolak permintaan",
    WORKER_LOST: "Pekerja hilang saat menggambar",
    ROLE_REQUIRED: "Ini hanya untuk operator",
    PROMPT_REFUSED: "Kata-kata ini tidak diizinkan",
    MODERATION_UNAVAILABLE: "Pemeriksaan kata dan gambar tidak menjawab",
    OPTION_NOT_SUPPORTED: "Model tidak mendukung salah satu opsi",
    NOT_REPRODUCIBLE: "Gambar ini tidak dapat dibuat ulang lagi",
    PROVIDER_CREDENTIALS: "Penyedia gambar menolak kunci layanan",
    PROVIDER_CREDIT: "Layanan tidak punya kredit di penyedia gambar",
    PROVIDER_CONTENT_REFUSED: "Penyedia gambar tidak mengizinkan isi ini",
    PROVIDER_NSFW: "Gambar ditahan karena tidak pantas",
    PROVIDER_OVERLOADED: "Penyedia gambar sedang terlalu sibuk",
    PROVIDER_TIMEOUT: "Penyedia gambar terlalu lama",
    PROVIDER_BAD_ANSWER: "Penyedia gambar tidak mengirim gambar yang dapat dipakai",
    PROVIDER_GONE: "Penyedia gambar tidak lagi memiliki model ini",
    REFERENCE_GONE: "Gambar rujukan sudah dihapus",
    TRANSFER_LIMIT: "Terlalu banyak unggahan bersamaan",
    TRANSFER_TOO_SLOW: "Koneksi terlalu lambat untuk berkas ini",
    OVERLOADED: "Layanan sedang sibuk",
    DATABASE_TOO_SLOW: "Pencarian terlalu lama",
    DATABASE_LIMIT: "Terlalu banyak pencarian bersamaan",
    CALL_LIMIT: "Terlalu banyak permintaan bersamaan",
  },
};

/** Return the words for a reason of a failed call or generation, or `otherwise`. */
export function reasonText(reason: string, otherwise: string = t.unknown): string {
  return reasons[language.current][reason as ErrorReasonName] ?? otherwise;
}

/** Explain to the user why something failed. */
export function explain(thrown: unknown): Explained {
  // A chunk of an older build that the server no longer has.
  if (thrown instanceof TypeError && /import|module/i.test(thrown.message))
    return { title: t.stale, detail: t.staleDetail, retryable: true, offline: false };
  const error = thrown instanceof AvatarCreatorError ? thrown : errorOf(thrown);
  const offline = error.reason === "" && error.code === Code.Unavailable;
  if (offline) return { title: t.offline, detail: t.offlineDetail, retryable: true, offline };
  const retryable =
    error.code === Code.Unavailable ||
    error.code === Code.ResourceExhausted ||
    error.code === Code.DeadlineExceeded ||
    error.code === Code.Internal;
  if (error.reason === "") {
    const title = error.code === Code.DeadlineExceeded ? t.late : t.unknown;
    return { title, detail: error.code === Code.DeadlineExceeded ? "" : error.message, retryable, offline };
  }
  if (error.reason === "RESOURCE_NOT_FOUND") return { title: t.missing, detail: t.missingDetail, retryable, offline };
  const exact = error.fieldViolations.map(({ description }) => description).join(" ") || error.message;
  const wait = error.retryAfterMs === undefined ? "" : t.after(error.retryAfterMs / 1000);
  return {
    title: reasonText(error.reason),
    detail: [exact, wait].filter((part) => part !== "").join(" "),
    retryable,
    offline,
  };
}

/** The error in one line, for a toast or a row. */
export function inOneLine(thrown: unknown): string {
  const { title, detail } = explain(thrown);
  return detail === "" ? title : `${title}: ${detail}`;
}

export {connect, upload} from "avatar-creator";
